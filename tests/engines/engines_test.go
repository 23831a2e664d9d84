package engines

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	world.Main(m, map[string]world.Inside{"script": runScript, "mistakes": makeMistakes, "matches": makeMatches, "configuration": configure})
}

// TestEngines runs every script of testdata. One alone:
//
//	GOURD_RUNTIME=runc go test ./tests/engines -run 'TestEngines/^docker-run$' -v
func TestEngines(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) == 0 {
		t.Fatal("no scripts in testdata")
	}
	slices.Sort(scripts)
	buildClient(t)
	for _, s := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(s), ".txtar"), func(t *testing.T) {
			t.Parallel()
			world.Run(t, "script", s)
		})
	}
}

// base is where an engine keeps everything, in the world's own /run.
const base = "/run/engine"

func runScript(t *world.T, script string) {
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Setenv("GOTMPDIR", base); err != nil {
		t.Fatal(err)
	}
	before, err := world.Take()
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(filepath.Base(script), "-")
	var e *engine
	var vars []string
	switch name {
	case "podman", "buildah": // which are no daemons
		vars, err = configurePodman(rt)
	case "docker":
		e, err = startDocker(rt)
	case "containerd":
		e, err = start("containerd", "--root", base+"/root", "--state", base+"/state", "--address", base+"/containerd.sock")
	case "cri":
		e, vars, err = startCRI(rt)
	default:
		err = fmt.Errorf("no engine for the script %s", script)
	}
	if err != nil {
		t.Fatal(err)
	}
	testscript.RunT(t, testscript.Params{
		Files: []string{script},
		Setup: func(env *testscript.Env) error {
			env.Vars = append(append(env.Vars, vars...),
				"RUNTIME="+rt.Path, "KIND="+rt.Kind,
				"DOCKER_HOST=unix://"+base+"/docker.sock",
				"CONTAINERD_ADDRESS="+base+"/containerd.sock")
			return makeRootfs(filepath.Join(env.WorkDir, "rootfs"))
		},
		Cmds:                commands,
		Condition:           rt.Condition,
		RequireExplicitExec: true,
		Deadline:            world.Deadline(),
	})
	if e != nil {
		if err := e.stop(); err != nil {
			t.Errorf("%v", err)
		}
	}
	if t.Failed() {
		if e != nil {
			t.Logf("the engine's log ends with:\n%s", e.logTail())
		}
		return
	}
	left, err := before.Since()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range left {
		switch {
		case line == "+ cgroup /sys/fs/cgroup/docker", line == "+ cgroup /sys/fs/cgroup/default",
			strings.HasPrefix(line, "+ cgroup /sys/fs/cgroup/libpod_parent"):
			// The engine's parent for its containers: made by runc or by the engine, and left.
		case rt.Kind == "runc":
			t.Logf("left behind: %s", line)
		default:
			t.Errorf("left behind: %s", line)
		}
	}
}

// startDocker starts dockerd with the runtime as its only one.
func startDocker(rt world.Runtime) (*engine, error) {
	return start("dockerd", "--data-root", base+"/data", "--exec-root", base+"/exec",
		"--pidfile", base+"/pid", "-H", "unix://"+base+"/docker.sock",
		"--bridge=none", "--iptables=false", "--ip6tables=false",
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		"--add-runtime", "undertest="+rt.Path, "--default-runtime", "undertest")
}

// configurePodman makes Podman keep everything below base, and returns the
// environment that tells it so. A world has no network to set up.
func configurePodman(rt world.Runtime) ([]string, error) {
	conf, storage := base+"/containers.conf", base+"/storage.conf"
	return []string{"CONTAINERS_CONF=" + conf, "CONTAINERS_STORAGE_CONF=" + storage}, errors.Join(
		os.WriteFile(conf, fmt.Appendf(nil, podmanConf+`
runtime = "gourd"
tmp_dir = %q
[engine.runtimes]
gourd = [%q]
`, base+"/tmp", rt.Path), 0o644),
		os.WriteFile(storage, fmt.Appendf(nil, `
[storage]
driver = "vfs"
graphroot = %q
runroot = %q
`, base+"/root", base+"/runroot"), 0o644))
}

// makeRootfs makes a root filesystem of a few busybox commands in dir.
func makeRootfs(dir string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), busybox, 0o755); err != nil {
		return err
	}
	for _, a := range strings.Fields("cat chmod chown dd echo env false grep head hostname httpd id ip kill ls mkdir mkfifo mount nc ps pwd readlink rm sed sh sleep stat stty tail touch true tty ulimit umount wc wget") {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			return err
		}
	}
	return nil
}

// An engine is a daemon that runs for one script.
type engine struct {
	cmd *exec.Cmd
	log string
}

// start starts the daemon and waits until it says that it is ready, by
// sd_notify(3).
func start(name string, args ...string) (*engine, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%w (Debian: docker.io, containerd)", err)
	}
	notify := base + "/notify.sock"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := l.SetReadDeadline(world.Soon()); err != nil {
		return nil, err
	}
	e := &engine{log: base + "/" + name + ".log"}
	log, err := os.Create(e.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e.cmd = exec.Command(path, args...)
	e.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	// A daemon that dies will not say anything: its end must wake the reader.
	gone := make(chan struct{})
	stopWatch, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(stopWatch)
	go func() {
		defer close(gone)
		if ended, _ := world.WaitExitOr(e.cmd.Process.Pid, stopWatch, world.Soon()); ended {
			l.Close()
		}
	}()
	buf := make([]byte, 4096)
	for {
		n, err := l.Read(buf)
		if err != nil {
			e.cmd.Process.Kill()
			e.cmd.Wait()
			<-gone
			return nil, fmt.Errorf("%s did not get ready: %w\n%s", name, err, e.logTail())
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			break
		}
	}
	if _, err := unix.Write(stopWatch, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return nil, err
	}
	<-gone
	return e, nil
}

// stop ends the daemon as systemd would.
func (e *engine) stop() error {
	if err := e.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	err := e.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		return fmt.Errorf("%s: %w", e.cmd.Path, err)
	}
	return nil
}

// logTail returns the last part of what the daemon wrote.
func (e *engine) logTail() []byte {
	data, err := os.ReadFile(e.log)
	if err != nil {
		return []byte(err.Error())
	}
	const most = 8 << 10
	if len(data) > most {
		data = data[len(data)-most:]
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	return data
}
