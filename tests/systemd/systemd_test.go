package systemd

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
	"syscall"
	"testing"
)

// TestMain keeps the tests off a machine that is not made for them.
func TestMain(m *testing.M) {
	if os.Getenv("GOURD_TEST_VM") == "" {
		fmt.Println("skipped: not in the virtual machine")
		return
	}
	os.Exit(m.Run())
}

// A user is who runs gourd, with the systemd that belongs to it.
type user struct {
	t    *testing.T
	uid  int
	gid  int
	dir  string // for bundles and state
	env  []string
	ctl  []string // systemctl
	slug string   // a part of every unit's name
}

func root(t *testing.T) *user {
	t.Helper()
	return &user{t: t, dir: t.TempDir(), env: os.Environ(), ctl: []string{"systemctl"}, slug: slug(t)}
}

// tester is the machine's ordinary user, whose own systemd runs from the boot on.
func tester(t *testing.T) *user {
	t.Helper()
	const uid = 1000
	dir, err := os.MkdirTemp("/var/tmp", "systemd-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	return &user{t: t, uid: uid, gid: uid, dir: dir, ctl: []string{"systemctl", "--user"}, slug: slug(t), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/home/tester", "USER=tester",
		"XDG_RUNTIME_DIR=/run/user/1000",
	}}
}

func slug(t *testing.T) string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
}

// command is a command of the user's.
func (u *user) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), args[0], args[1:]...)
	cmd.Env, cmd.Dir = u.env, u.dir
	if u.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.gid)}}
	}
	return cmd
}

// run runs a command that must succeed, and returns what it wrote.
func (u *user) run(args ...string) string {
	u.t.Helper()
	out, err := u.try(args...)
	if err != nil {
		u.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (u *user) try(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := u.command(args...)
	// A file, so that a container that is left running holds no pipe.
	f, err := os.CreateTemp(u.t.TempDir(), "out")
	if err != nil {
		return "", err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	text, readErr := os.ReadFile(f.Name())
	if readErr != nil {
		return "", readErr
	}
	out.Write(text)
	return strings.TrimSpace(out.String()), err
}

// gourd runs gourd with the systemd manager; mayGourd may fail.
func (u *user) gourd(args ...string) string { u.t.Helper(); return u.run(u.line(args)...) }

func (u *user) mayGourd(args ...string) (string, error) { return u.try(u.line(args)...) }

func (u *user) line(args []string) []string {
	return append([]string{os.Getenv("GOURD_RUNTIME"), "--root", u.dir + "/state", "--systemd-cgroup"}, args...)
}

// A config is a config.json as plain JSON.
type config map[string]any

// linux returns the config's linux section.
func (c config) linux() map[string]any { return c["linux"].(map[string]any) }

// bundle makes a bundle with busybox, whose process is sh -c script.
func (u *user) bundle(name, script string, change func(config)) string {
	u.t.Helper()
	dir := filepath.Join(u.dir, name)
	bin := filepath.Join(dir, "rootfs/bin")
	u.run("mkdir", "-p", bin)
	u.run("cp", "/bin/busybox", bin+"/busybox")
	for _, applet := range []string{"sh", "cat", "sleep", "grep", "ls", "mkdir", "mknod", "head", "true", "dd"} {
		u.run("ln", "-s", "busybox", bin+"/"+applet)
	}
	args := []string{os.Getenv("GOURD_RUNTIME"), "spec", "--bundle", dir}
	if u.uid != 0 {
		args = append(args, "--rootless")
	}
	u.run(args...)
	text, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		u.t.Fatal(err)
	}
	c := config{}
	if err := json.Unmarshal(text, &c); err != nil {
		u.t.Fatal(err)
	}
	process := c["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = []string{"sh", "-c", script}
	delete(c, "root")
	c["root"] = map[string]any{"path": "rootfs"}
	if change != nil {
		change(c)
	}
	if text, err = json.Marshal(c); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", text, 0o644); err != nil {
		u.t.Fatal(err)
	}
	return dir
}

// property asks systemd for a property of a unit.
func (u *user) property(unit, name string) string {
	u.t.Helper()
	return u.run(append(slices.Clone(u.ctl), "show", "--value", "-p", name, unit)...)
}

// wantProperty checks properties of a unit.
func (u *user) wantProperty(unit string, want map[string]string) {
	u.t.Helper()
	for name, value := range want {
		if got := u.property(unit, name); got != value {
			u.t.Errorf("%s of %s is %q, want %q", name, unit, got, value)
		}
	}
}

// wantNoUnit checks that systemd has forgotten the unit. It does so when the
// kernel has told it that the cgroup is empty; `systemctl stop` waits for that,
// and fails where there is nothing to stop.
func (u *user) wantNoUnit(unit string) {
	u.t.Helper()
	u.try(append(slices.Clone(u.ctl), "stop", unit)...)
	if got := u.property(unit, "LoadState"); got != "not-found" {
		u.t.Errorf("unit %s is still there: LoadState %s, ActiveState %s", unit, got, u.property(unit, "ActiveState"))
	}
}

// cgroupOf returns the directory of a process's cgroup, as the machine has it.
func (u *user) cgroupOf(pid int) string {
	u.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		u.t.Fatal(err)
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "0::")
	if !ok {
		u.t.Fatalf("/proc/%d/cgroup: %s", pid, text)
	}
	return "/sys/fs/cgroup" + path
}

// pid returns the pid of a container's init.
func (u *user) pid(id string) int {
	u.t.Helper()
	var s struct{ Pid int }
	if err := json.Unmarshal([]byte(u.gourd("state", id)), &s); err != nil {
		u.t.Fatal(err)
	}
	return s.Pid
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	} else if strings.TrimSpace(string(got)) != want {
		t.Errorf("%s is %q, want %q", path, got, want)
	}
}

// create makes a container and sees to it that none is left.
func (u *user) create(bundle, id string, flags ...string) int {
	u.t.Helper()
	u.gourd(slices.Concat([]string{"create", "--bundle", bundle}, flags, []string{id})...)
	u.t.Cleanup(func() { exec.Command(u.line(nil)[0], "--root", u.dir+"/state", "delete", "--force", id).Run() })
	return u.pid(id)
}

// limits are resources whose values are easy to tell from defaults.
func limits(c config) {
	c.linux()["resources"] = map[string]any{
		"memory": map[string]any{"limit": 64 << 20, "swap": 80 << 20, "reservation": 32 << 20},
		"pids":   map[string]any{"limit": 33},
		"cpu":    map[string]any{"shares": 2048, "quota": 25_000, "period": 50_000},
		"devices": []any{
			map[string]any{"allow": false, "access": "rwm"},
			map[string]any{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"},
		},
	}
}

// TestSystemManager is a container's whole life in a scope of pid 1's.
func TestSystemManager(t *testing.T) {
	u := root(t)
	unit := "gourd-" + u.slug + ".scope"
	bundle := u.bundle("b", "cat /proc/self/cgroup; sleep 1000", func(c config) {
		limits(c)
		c.linux()["cgroupsPath"] = "system.slice:gourd:" + u.slug
		c.linux()["devices"] = []any{map[string]any{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}}
		c["annotations"] = map[string]any{
			"org.systemd.property.TimeoutStopSec": "uint64 7",
		}
	})
	pid := u.create(bundle, "c")
	cg := u.cgroupOf(pid)
	if want := "/sys/fs/cgroup/system.slice/" + unit; cg != want {
		t.Fatalf("init is in %s, want %s", cg, want)
	}
	told := map[string]string{
		"Slice": "system.slice", "Delegate": "yes", "MemoryMax": "67108864", "MemorySwapMax": "16777216", "TasksMax": "33",
		"CPUQuotaPerSecUSec": "500ms", "CPUQuotaPeriodUSec": "50ms", "TimeoutStopUSec": "7s", "MemoryLow": "33554432",
	}
	u.wantProperty(unit, told)
	files := map[string]string{
		"memory.max": "67108864", "memory.swap.max": "16777216", "memory.low": "33554432", "pids.max": "33",
		"cpu.max": "25000 50000",
	}
	for name, want := range files {
		wantFile(t, cg+"/"+name, want)
	}
	u.gourd("start", "c")
	// systemd must not put anything else in their place when it looks again.
	u.run("systemctl", "daemon-reload")
	for name, want := range files {
		wantFile(t, cg+"/"+name, want)
	}
	if out := u.gourd("exec", "c", "cat", "/proc/self/cgroup"); out != "0::/" {
		t.Errorf("inside, the cgroup is %q, want 0::/", out)
	}
	// The device program is in force.
	if out, err := u.mayGourd("exec", "c", "head", "-c", "1", "/dev/kmsg"); err == nil || !strings.Contains(out, "Operation not permitted") {
		t.Errorf("/dev/kmsg could be read: %v, %q", err, out)
	}
	u.gourd("exec", "c", "sh", "-c", "true > /dev/null")

	u.gourd("pause", "c")
	if out := u.gourd("state", "c"); !strings.Contains(out, `"status": "paused"`) {
		t.Errorf("paused container: %s", out)
	}
	u.gourd("resume", "c")

	u.gourd("kill", "c", "KILL")
	u.gourd("delete", "--force", "c")
	if _, err := os.Stat(cg); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", cg, err)
	}
	u.wantNoUnit(unit)
}

// TestPidsLimit shows a limit of a scope bite, with its own tasks counted.
func TestPidsLimit(t *testing.T) {
	u := root(t)
	bundle := u.bundle("b", "i=0; while sleep 1000 & do i=$((i+1)); [ $i -lt 50 ] || break; done; echo started $i", func(c config) {
		c.linux()["cgroupsPath"] = ":gourd:" + u.slug
		c.linux()["resources"] = map[string]any{"pids": map[string]any{"limit": 10}}
	})
	out, _ := u.mayGourd("run", "--bundle", bundle, "c")
	if strings.Contains(out, "started 50") || !strings.Contains(out, "can't fork") {
		t.Errorf("50 processes under a limit of 10: %q", out)
	}
	u.wantNoUnit("gourd-" + u.slug + ".scope")
}

// TestOwnCgroupMount is a container without a cgroup namespace: it sees only
// its scope.
func TestOwnCgroupMount(t *testing.T) {
	u := root(t)
	bundle := u.bundle("b", "cat /sys/fs/cgroup/pids.max", func(c config) {
		c.linux()["cgroupsPath"] = "system.slice::" + u.slug
		c.linux()["resources"] = map[string]any{"pids": map[string]any{"limit": 77}}
		c.linux()["namespaces"] = slices.DeleteFunc(c.linux()["namespaces"].([]any), func(ns any) bool {
			return ns.(map[string]any)["type"] == "cgroup"
		})
		c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": []string{"ro"}})
	})
	if out := u.gourd("run", "--bundle", bundle, "c"); out != "77" {
		t.Errorf("pids.max at /sys/fs/cgroup: %q, want 77", out)
	}
	u.wantNoUnit(u.slug + ".scope")
}

// TestDefaultScope is a container that asks for nothing.
func TestDefaultScope(t *testing.T) {
	u := root(t)
	id := u.slug
	pid := u.create(u.bundle("b", "true", nil), id)
	if got, want := u.cgroupOf(pid), "/sys/fs/cgroup/system.slice/gourd-"+id+".scope"; got != want {
		t.Errorf("init is in %s, want %s", got, want)
	}
}

// TestSecondInit is a container that the raw child begins to set up in a scope and
// leaves to gourd's init, which has a scope of that name and its limits again: for it a
// symlink leads to a mountpoint.
func TestSecondInit(t *testing.T) {
	u := root(t)
	unit := "gourd-" + u.slug + ".scope"
	const left = "the container is set up by gourd's init"
	for _, target := range []string{"straight", "link"} {
		bundle := u.bundle("b-"+target, "cat /proc/self/mountinfo; head -c 1 /dev/kmsg", func(c config) {
			limits(c)
			c.linux()["cgroupsPath"] = ":gourd:" + u.slug
			c.linux()["devices"] = []any{map[string]any{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}}
			c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/" + target + "/below", "type": "tmpfs", "source": "tmpfs"})
		})
		u.run("ln", "-s", "straight", bundle+"/rootfs/link")
		out, err := u.mayGourd("--debug", "create", "--bundle", bundle, "c")
		if err != nil {
			t.Fatalf("%s: %v: %s", target, err, out)
		}
		if got := strings.Contains(out, left); got != (target == "link") {
			t.Errorf("%s: is set up by gourd's init: %v: %s", target, got, out)
		}
		cg := u.cgroupOf(u.pid("c"))
		if filepath.Base(cg) != unit {
			t.Errorf("%s: init is in %s, want scope %s", target, cg, unit)
		}
		wantFile(t, cg+"/pids.max", "33")
		wantFile(t, cg+"/memory.max", "67108864")
		u.gourd("delete", "--force", "c")
		u.wantNoUnit(unit)

		out, err = u.mayGourd("run", "--bundle", bundle, "c")
		if err == nil || !strings.Contains(out, " /straight/below ") || !strings.Contains(out, "Operation not permitted") {
			t.Errorf("%s: %v: %s", target, err, out)
		}
		u.wantNoUnit(unit)
	}
}

// TestNameTaken is a scope that somebody else's processes are in.
func TestNameTaken(t *testing.T) {
	u := root(t)
	unit := "taken-" + u.slug + ".scope"
	path := func(c config) { c.linux()["cgroupsPath"] = "system.slice:taken:" + u.slug }
	pid := u.create(u.bundle("b", "sleep 1000", path), "first")
	out, err := u.mayGourd("create", "--bundle", u.bundle("b2", "true", path), "second")
	if err == nil || !strings.Contains(out, "start scope "+unit) {
		t.Errorf("a second container in %s: %v, %q", unit, err, out)
	}
	if got := u.cgroupOf(pid); filepath.Base(got) != unit {
		t.Errorf("the first container's init is in %s now", got)
	}
	if out, err := u.mayGourd("state", "second"); err == nil {
		t.Errorf("the second container is there: %s", out)
	}
	// When it has ended, the name is free.
	u.gourd("kill", "first", "KILL")
	u.gourd("delete", "--force", "first")
	u.create(filepath.Join(u.dir, "b2"), "third")
}

// TestStopUnit is an administrator who stops the scope.
func TestStopUnit(t *testing.T) {
	u := root(t)
	unit := "gourd-" + u.slug + ".scope"
	u.create(u.bundle("b", "sleep 1000", func(c config) { c.linux()["cgroupsPath"] = ":gourd:" + u.slug }), "c")
	u.gourd("start", "c")
	u.run("systemctl", "kill", "--signal=KILL", unit)
	u.wantNoUnit(unit)
	if out := u.gourd("state", "c"); !strings.Contains(out, `"status": "stopped"`) {
		t.Errorf("after systemctl stop: %s", out)
	}
	u.gourd("delete", "c")
}

// TestFailureLeavesNoScope is a create that fails when the scope is there.
func TestFailureLeavesNoScope(t *testing.T) {
	for _, part := range []struct {
		name, says string
		change     func(config)
	}{
		{"hook", "exit status 1", func(c config) {
			c["hooks"] = map[string]any{"createRuntime": []any{map[string]any{"path": "/bin/false"}}}
		}},
		{"executable", "no-such-program", func(c config) {
			c["process"].(map[string]any)["args"] = []string{"/no-such-program"}
		}},
		{"property", "Nonsense", func(c config) {
			c["annotations"] = map[string]any{"org.systemd.property.Nonsense": "uint64 1"}
		}},
		{"late limit", "cpuset.cpus", func(c config) {
			c.linux()["resources"] = map[string]any{"unified": map[string]any{"cpuset.cpus.partition": "nonsense"}, "cpu": map[string]any{"cpus": "4000"}}
		}},
	} {
		t.Run(part.name, func(t *testing.T) {
			u := root(t)
			name := strings.ReplaceAll(u.slug, " ", "-")
			out, err := u.mayGourd("create", "--bundle", u.bundle("b", "true", func(c config) {
				c.linux()["cgroupsPath"] = "system.slice:gourd:" + name
				part.change(c)
			}), "c")
			if err == nil || !strings.Contains(out, part.says) {
				t.Errorf("create: %v, %q, want %q", err, out, part.says)
			}
			if out, err := u.mayGourd("state", "c"); err == nil {
				t.Errorf("the container is there: %s", out)
			}
			u.wantNoUnit("gourd-" + name + ".scope")
		})
	}
}

// TestCheckpoint is a container in a scope that is saved and restored twice,
// the second time into another scope. The machine's cgroup2 keeps its options,
// which CRIU drops.
func TestCheckpoint(t *testing.T) {
	u := root(t)
	options := func() string { return u.run("findmnt", "--noheadings", "--output", "FS-OPTIONS", "/sys/fs/cgroup") }
	before := options()
	if !strings.Contains(before, "nsdelegate") {
		t.Fatalf("options of cgroup2: %s", before)
	}
	unit := func(n string) string { return "gourd-" + u.slug + n + ".scope" }
	make := func(n string) string {
		return u.bundle("b"+n, "while echo alive >>/log; do sleep 0.05; done", func(c config) {
			c.linux()["cgroupsPath"] = "system.slice:gourd:" + u.slug + n
			limits(c)
		})
	}
	bundles := map[string]string{"1": make("1"), "2": make("2")}
	u.create(bundles["1"], "c")
	u.gourd("start", "c")
	for i, n := range []string{"1", "1", "2"} {
		if i > 0 {
			u.gourd("restore", "--detach", "--bundle", bundles[n], "--image-path", fmt.Sprint(u.dir, "/images", i), "c")
		}
		if got, want := u.cgroupOf(u.pid("c")), "/sys/fs/cgroup/system.slice/"+unit(n); got != want {
			t.Fatalf("init is in %s, want %s", got, want)
		}
		wantFile(t, "/sys/fs/cgroup/system.slice/"+unit(n)+"/pids.max", "33")
		if out := u.gourd("exec", "c", "sh", "-c", ": >/log; until grep alive /log; do sleep 0.05; done"); !strings.Contains(out, "alive") {
			t.Errorf("the process does not go on: %q", out)
		}
		if now := options(); now != before {
			t.Errorf("options of cgroup2: %s, and before %s", now, before)
		}
		if n == "2" {
			break
		}
		u.gourd("checkpoint", "--image-path", fmt.Sprint(u.dir, "/images", i+1), "c")
		u.wantNoUnit(unit(n))
	}
	u.gourd("delete", "--force", "c")
	u.wantNoUnit(unit("2"))
}

// TestUserManager is an ordinary user's container, whose limits its own systemd
// can enforce because its cgroup is delegated to it.
func TestUserManager(t *testing.T) {
	u := tester(t)
	unit := "gourd-" + u.slug + ".scope"
	bundle := u.bundle("b", "cat /sys/fs/cgroup/memory.max; sleep 1000", func(c config) {
		c.linux()["cgroupsPath"] = "user.slice:gourd:" + u.slug
		c.linux()["resources"] = map[string]any{
			"memory": map[string]any{"limit": 32 << 20, "swap": 32 << 20},
			"pids":   map[string]any{"limit": 44},
		}
	})
	pid := u.create(bundle, "c")
	cg := u.cgroupOf(pid)
	if want := "/user@" + strconv.Itoa(u.uid) + ".service/user.slice/" + unit; !strings.HasSuffix(cg, want) {
		t.Fatalf("init is in %s, want one that ends in %s", cg, want)
	}
	u.wantProperty(unit, map[string]string{"MemoryMax": "33554432", "TasksMax": "44", "MemorySwapMax": "0", "Delegate": "yes"})
	wantFile(t, cg+"/memory.max", "33554432")
	wantFile(t, cg+"/pids.max", "44")
	u.gourd("start", "c")
	// The test is in no cgroup of the user's, as a login session: systemd has
	// the process moved.
	if out := u.gourd("exec", "c", "cat", "/proc/self/cgroup"); out != "0::/" {
		t.Errorf("inside, the cgroup is %q", out)
	}
	u.run("mkdir", cg+"/below")
	if out := u.gourd("exec", "--cgroup", "below", "c", "cat", "/proc/self/cgroup"); out != "0::/below" {
		t.Errorf("exec --cgroup below: the cgroup is %q", out)
	}
	// The kernel enforces it: a hog of twice the limit is ended.
	out, err := u.mayGourd("exec", "c", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	events, readErr := os.ReadFile(cg + "/memory.events")
	if readErr != nil {
		t.Fatal(readErr)
	}
	if !strings.Contains(string(events), "\noom_kill ") || strings.Contains(string(events), "\noom_kill 0") {
		t.Errorf("a hog was not killed: %v, %q\n%s", err, out, events)
	}
	u.gourd("delete", "--force", "c")
	if _, err := os.Stat(cg); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", cg, err)
	}
	u.wantNoUnit(unit)
}
