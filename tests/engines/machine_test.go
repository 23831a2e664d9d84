package engines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
)

// The tests of this file are for the machine that is made for them (tests/vm),
// which is theirs: the engines run there as on any other, as services of
// systemd or as an ordinary user's, and scripts use them one after the other.

// TestDocker runs the scripts docker-* with each of Docker's cgroup drivers, and
// userns-* with the containers' ids mapped. BuildKit inside of dockerd runs what is
// called runc in its PATH, which docs/engines.md tells.
func TestDocker(t *testing.T) {
	rt := onMachine(t)
	if os.Geteuid() != 0 {
		t.Skip("Docker is root's")
	}
	for _, g := range []struct {
		name, scripts string
		more          map[string]any
	}{
		{"systemd", "docker-*", map[string]any{"exec-opts": []string{"native.cgroupdriver=systemd"}}},
		{"cgroupfs", "docker-*", map[string]any{"exec-opts": []string{"native.cgroupdriver=cgroupfs"}}},
		{"userns", "userns-*", map[string]any{"userns-remap": "tester"}},
	} {
		t.Run(g.name, func(t *testing.T) {
			config := map[string]any{
				"runtimes":        map[string]any{"undertest": map[string]any{"path": rt.Path}},
				"default-runtime": "undertest",
			}
			for k, v := range g.more {
				config[k] = v
			}
			text, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll("/etc/docker", 0o755); err != nil {
				t.Fatal(err)
			}
			const file = "/etc/docker/daemon.json"
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
			undo := asRunc(t, rt)
			t.Cleanup(func() {
				command(t, "systemctl", "stop", "docker.service", "docker.socket", "containerd.service")
				// What it leaves forbidden, other engines' networks need.
				command(t, "iptables", "--policy", "FORWARD", "ACCEPT")
				os.Remove(file)
				undo()
			})
			r := rig{rt: rt, engine: []string{"docker"}}
			if err := exec.Command("systemctl", "start", "docker.service").Run(); err != nil {
				t.Fatalf("%v\n%s", err, command(t, "journalctl", "-n", "50", "-u", "docker.service"))
			}
			r.run(t, g.scripts)
			if t.Failed() {
				t.Logf("the engine's log ends with:\n%s", command(t, "journalctl", "--no-pager", "-n", "60", "-u", "docker.service", "-u", "containerd.service"))
			}
		})
	}
}

// asRunc makes dockerd find the runtime under the name of runc, until undo.
func asRunc(t *testing.T, rt world.Runtime) (undo func()) {
	dir := t.TempDir()
	if err := os.Symlink(rt.Path, filepath.Join(dir, "runc")); err != nil {
		t.Fatal(err)
	}
	const dropIn = "/run/systemd/system/docker.service.d/runtime.conf"
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dropIn, fmt.Appendf(nil, "[Service]\nEnvironment=PATH=%s:%s\n", dir, os.Getenv("PATH")), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "systemctl", "daemon-reload")
	return func() {
		os.Remove(dropIn)
		command(t, "systemctl", "daemon-reload")
	}
}

// TestContainerd runs the scripts containerd-*, with containerd's own client.
func TestContainerd(t *testing.T) {
	rt := onMachine(t)
	if os.Geteuid() != 0 {
		t.Skip("containerd is root's")
	}
	t.Cleanup(func() { command(t, "systemctl", "stop", "containerd.service") })
	if err := exec.Command("systemctl", "start", "containerd.service").Run(); err != nil {
		t.Fatal(err)
	}
	rig{rt: rt, vars: []string{"CONTAINERD_ADDRESS=/run/containerd/containerd.sock"}}.run(t, "containerd-*")
}

// TestCRI runs the scripts cri-*, with containerd configured as docs/kubernetes.md
// tells.
func TestCRI(t *testing.T) {
	rt := onMachine(t)
	if os.Geteuid() != 0 {
		t.Skip("containerd is root's")
	}
	t.Run("systemd", func(t *testing.T) {
		node := startNode(t, rt, "1.x", "")
		rig{rt: rt, vars: append(node.vars, "CRI_CGROUP_PARENT=/system.slice"), sweep: node.removePods}.run(t, "cri-*")
		if t.Failed() {
			t.Logf("the engine's log ends with:\n%s", command(t, "journalctl", "--no-pager", "-n", "60", "-u", "containerd.service"))
		}
	})
}

// TestPodman runs the scripts podman-* as whoever the tests run as: root, with
// each of Podman's cgroup managers, or an ordinary user.
func TestPodman(t *testing.T) {
	rt := onMachine(t)
	managers := []string{"systemd", "cgroupfs"}
	if os.Geteuid() != 0 {
		managers = managers[:1] // the other has no cgroups for an ordinary user
	}
	for _, m := range managers {
		t.Run(m, func(t *testing.T) {
			configureContainers(t, fmt.Sprintf(`
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = %q
events_logger = "file"
runtime = "gourd"
runtime_supports_json = ["gourd"]
[engine.runtimes]
gourd = [%q]
`, m, rt.Path))
			rig{rt: rt, engine: []string{"podman"}}.run(t, "podman-*")
		})
	}
}

// configureContainers writes Podman's and Buildah's configuration, for this test,
// where whatever systemd or conmon starts of Podman finds it, too.
func configureContainers(t *testing.T, text string) {
	conf := "/etc/containers/containers.conf.d/tests.conf"
	if os.Geteuid() != 0 {
		conf = filepath.Join(os.Getenv("HOME"), ".config/containers/containers.conf.d/tests.conf")
	}
	if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(conf) })
	text += `
# (pasta gives a container the routes of the machine, and this machine has none.)
[network]
default_rootless_network_cmd = "slirp4netns"
`
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBuildah runs the scripts buildah-* as whoever the tests run as.
func TestBuildah(t *testing.T) {
	rt := onMachine(t)
	configureContainers(t, "")
	rig{rt: rt, sweep: func(t *testing.T) {
		if left := command(t, "buildah", "containers"); strings.Count(left, "\n") > 1 {
			t.Errorf("left behind: containers\n%s", left)
			command(t, "buildah", "rm", "--all")
		}
		command(t, "buildah", "rmi", "--prune")
	}}.run(t, "buildah-*")
}

// onMachine returns the runtime under test; it skips the test elsewhere.
func onMachine(t *testing.T) world.Runtime {
	t.Helper()
	if os.Getenv("GOURD_TEST_VM") == "" {
		t.Skip("not in the virtual machine")
	}
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// A rig is an engine that is ready for scripts.
type rig struct {
	rt        world.Runtime
	engine    []string         // its client; none if it lists no containers by "ps"
	vars      []string         // more of the scripts' environment
	has       map[string]bool  // more conditions
	forgetful bool             // containerd 2.1 now and then leaves the shim of a sandbox that has ended, with runc, too
	sweep     func(*testing.T) // removes what a script has left to the engine, if not docker's way
}

// run runs the scripts whose names match, here one after the other.
func (r rig) run(t *testing.T, names string) {
	var scripts []string
	for _, dir := range []string{"testdata", "testdata/machine"} {
		found, err := filepath.Glob(filepath.Join(dir, names+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, found...)
	}
	if len(scripts) == 0 {
		t.Fatalf("no scripts %s", names)
	}
	if r.engine != nil { // so that what an engine makes once is there before the first script
		dir := t.TempDir()
		if err := makeRootfs(dir); err != nil {
			t.Fatal(err)
		}
		c := r.engine[0]
		command(t, "sh", "-c", fmt.Sprintf("tar -C %s -c . | %s import - box && %s run --rm box true", dir, c, c))
	}
	for _, s := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(s), ".txtar"), func(t *testing.T) {
			before := r.lasting(t)
			defer func() {
				r.clean(t)
				for _, l := range world.Snapshot(before).Diff(world.Snapshot(r.lasting(t))) {
					t.Errorf("left behind: %s", l)
				}
			}()
			testscript.RunT(serial{t}, testscript.Params{
				Files: []string{s},
				Setup: func(env *testscript.Env) error {
					env.Vars = append(env.Vars, "RUNTIME="+r.rt.Path, "KIND="+r.rt.Kind, "ENGINE="+strings.Join(r.engine, " "))
					env.Vars = append(env.Vars, r.vars...)
					for _, k := range []string{"HOME", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
						if v := os.Getenv(k); v != "" {
							env.Vars = append(env.Vars, k+"="+v)
						}
					}
					// A container's ids may be others than those of the tests.
					if err := os.Chmod(env.WorkDir, 0o755); err != nil {
						return err
					}
					return makeRootfs(filepath.Join(env.WorkDir, "rootfs"))
				},
				Cmds: commands,
				Condition: func(cond string) (bool, error) {
					if has, ok := r.has[cond]; ok {
						return has, nil
					}
					return r.rt.Condition(cond)
				},
				RequireExplicitExec: true,
				Deadline:            time.Now().Add(10 * world.Limit), // a guard: the machine is slow
			})
		})
	}
}

// serial makes a script a part of the test, and not one of its parallel ones.
type serial struct{ *testing.T }

func (s serial) Parallel()                          {}
func (s serial) Run(_ string, f func(testscript.T)) { f(s) }
func (s serial) Verbose() bool                      { return testing.Verbose() }

// clean removes what a script has left to the engine, which is an error, and
// waits for what ends by itself.
func (r rig) clean(t *testing.T) {
	if r.engine != nil {
		c := r.engine[0]
		if ids := strings.Fields(command(t, c, "ps", "-aq")); len(ids) > 0 {
			t.Errorf("left behind: containers\n%s", command(t, c, "ps", "-a"))
			command(t, c, append([]string{"rm", "-f"}, ids...)...)
		}
		command(t, c, "image", "prune", "-f")
	}
	if r.sweep != nil {
		r.sweep(t)
	}
	for _, pid := range monitors(t) {
		ended, err := world.WaitExit(pid, world.Soon())
		if err != nil {
			t.Fatal(err)
		}
		if !ended {
			if r.forgetful {
				t.Logf("left behind by the engine: process %d, which watched over a container", pid)
				command(t, "kill", "-KILL", strconv.Itoa(pid))
				continue
			}
			t.Errorf("left behind: process %d, which watched over a container", pid)
		}
	}
}

// monitors are the processes that engines put beside each container.
func monitors(t *testing.T) []int {
	found, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range found {
		comm, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		if name := string(bytes.TrimSpace(comm)); name == "conmon" || strings.HasPrefix(name, "containerd-shim") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// lasting lists what containers may leave behind on the machine: mounts,
// cgroups, state.
func (r rig) lasting(t *testing.T) []string {
	all, err := world.Take()
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc([]string(all), func(l string) bool {
		kind, what, _ := strings.Cut(l, " ")
		switch kind {
		case "mount":
			// The engine's own, for good or for as long as podman has containers, and
			// what the kubelet unmounts when it gets to it.
			return strings.Contains(what, " /run/docker/netns/default ") || strings.HasPrefix(what, "/var/lib/containers/storage/overlay ") ||
				strings.Contains(what, " /var/lib/kubelet/")
		case "cgroup":
			// The scopes of conmon systemd removes on its own.
			base := filepath.Base(what)
			return !strings.Contains(base, "docker-") && !strings.Contains(base, "libpod-") && !strings.Contains(base, "cri-containerd-") && !strings.Contains(base, "buildah-") && !strings.Contains(base, "gourd") ||
				strings.Contains(base, "conmon")
		}
		return true
	})
	for _, state := range []string{"/run/docker/runtime-*/*/*", "/run/containerd/runc/*/*", "/run/gourd/*", "/run/user/*/gourd/*"} {
		found, err := filepath.Glob(state)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, found...)
	}
	slices.Sort(lines)
	return lines
}

// command returns what a command has written; that it fails is an error.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
