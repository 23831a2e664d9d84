package systemd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
	"golang.org/x/sys/unix"
)

// TestUserManager runs against a real systemd, which needs no boot: a user
// manager in a mount namespace of its own, with a cgroup2 mount of its own and a
// session bus of its own. The test starts itself again for that.
func TestUserManager(t *testing.T) {
	if os.Getenv("GOURD_TEST_IN_NAMESPACE") != "" {
		inNamespace(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount cgroup2 in a namespace of its own")
	}
	for _, bin := range []string{systemdBinary, dbusDaemon} {
		if _, err := os.Stat(bin); err != nil {
			t.Skipf("needs the packages systemd and dbus-daemon: %v", err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestUserManager$", "-test.v")
	cmd.Env = append(os.Environ(), "GOURD_TEST_IN_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestUserManager") {
		t.Errorf("it did not run to its end:\n%s", out)
	}
}

const (
	systemdBinary = "/lib/systemd/systemd"
	dbusDaemon    = "/usr/bin/dbus-daemon"
)

func inNamespace(t *testing.T) {
	root := "/sys/fs/cgroup"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	unix.Unmount(root, unix.MNT_DETACH) // nothing mounted there is fine too
	if err := unix.Mount("none", root, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	// A user manager wants to see that the system runs systemd (sd_booted(3)).
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/systemd/system", 0o755); err != nil {
		t.Fatal(err)
	}
	runtime := t.TempDir()
	if err := os.Chmod(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	bus := "unix:path=" + filepath.Join(runtime, "bus")
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", bus)
	t.Setenv("HOME", runtime)
	startBus(t, bus)
	home := startManager(t, root, runtime)

	ctx := context.Background()
	m, err := Connect(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	plan := func(name string) *cgroups.Plan {
		var d defect.List
		p := cgroups.Compile(nil, cgroups.Env{
			Root: root, Own: "/", ID: "x", CgroupsPath: "gourdtest.slice:gourd:" + name, Systemd: true,
			Annotations: map[string]string{"org.systemd.property.TimeoutStopSec": "7"},
		}, &d)
		if err := d.Err(); err != nil {
			t.Fatal(err)
		}
		return &p
	}

	t.Run("start, limit, remove", func(t *testing.T) {
		p := plan("one")
		// This kernel's v2 hierarchy need not have controllers, so the files
		// are left alone, but systemd keeps what it is told.
		p.Scope.Properties = []cgroups.Property{{Name: "MemoryMax", Number: 1 << 30}, {Name: "AllowedCPUs", Bytes: []byte{1}, Since: 244}}
		p.Scope.Late = []cgroups.Property{{Name: "TasksMax", Number: 9}}
		var undo cleanup.Stack
		cmd := sleep(t)
		c, err := m.Start(ctx, p, cmd.Process.Pid, &undo)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := filepath.Join(home, "gourdtest.slice/gourd-one.scope")
		if r := c.Record(); r.Path != want || r.Scope != "gourd-one.scope" || !r.User || r.Manager != cgroups.ManagerSystemd {
			t.Errorf("record %+v, want path %s", r, want)
		}
		if pids, err := c.Procs(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("Procs = %v, %v", pids, err)
		}
		if ids, err := linux.BPFProgQuery(c.FD(), unix.BPF_CGROUP_DEVICE); err != nil || len(ids) == 0 {
			t.Errorf("device programs %v, %v", ids, err)
		}
		is := func(name string, want any) {
			t.Helper()
			got, err := m.conn.GetUnitTypePropertyContext(ctx, "gourd-one.scope", "Scope", name)
			if err != nil || got.Value.Value() != want {
				t.Errorf("%s is %v, %v; want %v", name, got, err, want)
			}
		}
		is("MemoryMax", uint64(1<<30))
		is("Delegate", true)
		is("TimeoutStopUSec", uint64(7_000_000))
		if err := m.Late(ctx, p, c); err != nil {
			t.Fatal(err)
		}
		is("TasksMax", uint64(9))
		ch := cgroups.Changes{Plan: cgroups.Plan{Scope: cgroups.Scope{Late: []cgroups.Property{{Name: "TasksMax", Number: 11}}}}}
		if err := m.Update(ctx, c, &ch); err != nil {
			t.Fatal(err)
		}
		is("TasksMax", uint64(11))

		// What the kernel does not take systemd is not told, and what systemd
		// does not take is undone.
		ch = cgroups.Changes{Plan: cgroups.Plan{
			Late:  []cgroups.Write{{File: "no.such.file", Value: "1"}},
			Scope: cgroups.Scope{Late: []cgroups.Property{{Name: "TasksMax", Number: 12}}},
		}}
		if err := m.Update(ctx, c, &ch); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an update that the kernel refuses: %v", err)
		}
		is("TasksMax", uint64(11))
		ch = cgroups.Changes{Plan: cgroups.Plan{
			Late:  []cgroups.Write{{File: "cgroup.max.depth", Value: "5"}},
			Scope: cgroups.Scope{Late: []cgroups.Property{{Name: "NoSuchProperty", Number: 12}}},
		}}
		if err := m.Update(ctx, c, &ch); err == nil || !strings.Contains(err.Error(), "NoSuchProperty") {
			t.Errorf("an update that systemd refuses: %v", err)
		}
		if depth, err := os.ReadFile(filepath.Join(want, "cgroup.max.depth")); string(depth) != "max\n" {
			t.Errorf("the depth is %q, %v", depth, err)
		}

		// In use, so nobody else gets it.
		other := sleep(t)
		if _, err := m.Start(ctx, plan("one"), other.Process.Pid, &undo); !errors.Is(err, os.ErrExist) {
			t.Errorf("a second scope of the name: %v", err)
		}
		if err := undo.Run(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(want); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the scope's cgroup is left: %v", err)
		}
		// Without a word to systemd, the name can be used again at once.
		c, err = m.Start(ctx, plan("one"), other.Process.Pid, &undo)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := undo.Run(); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("frozen", func(t *testing.T) {
		var undo cleanup.Stack
		cmd := sleep(t)
		c, err := m.Start(ctx, plan("frozen"), cmd.Process.Pid, &undo)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Freeze(); err != nil {
			t.Error(err)
		}
		if err := undo.Run(); err != nil {
			t.Error(err)
		}
	})

	t.Run("no such process", func(t *testing.T) {
		var undo cleanup.Stack
		cmd := sleep(t)
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := m.Start(ctx, plan("dead"), cmd.Process.Pid, &undo); err == nil {
			t.Error("a scope is made around nothing")
			undo.Run()
		}
	})

	t.Run("fifty at once", func(t *testing.T) {
		errs := make(chan error)
		for i := range 50 {
			cmd := sleep(t)
			name := "many" + string(rune('a'+i/10)) + string(rune('a'+i%10))
			go func() {
				m, err := Connect(ctx, true)
				if err != nil {
					errs <- err
					return
				}
				defer m.Close()
				var undo cleanup.Stack
				c, err := m.Start(ctx, plan(name), cmd.Process.Pid, &undo)
				if err == nil {
					c.Close()
				}
				errs <- errors.Join(err, undo.Run())
			}()
		}
		for range 50 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		left, err := filepath.Glob(filepath.Join(home, "gourdtest.slice", "*.scope"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func sleep(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// startBus starts a session bus, and returns when it listens.
func startBus(t *testing.T, address string) {
	t.Helper()
	cmd := exec.Command(dbusDaemon, "--session", "--nofork", "--nopidfile", "--address="+address, "--print-address=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := io.ReadAtLeast(out, make([]byte, 1), 1); err != nil {
		t.Fatal("the bus does not start: ", err)
	}
}

// startManager starts a user manager in a cgroup of its own, and returns the
// directory of that cgroup when it is ready, as it tells by sd_notify(3).
func startManager(t *testing.T, root, runtime string) string {
	t.Helper()
	var d defect.List
	p := cgroups.Compile(nil, cgroups.Env{Root: root, Own: "/", CgroupsPath: "/gourd-test-systemd"}, &d)
	var undo cleanup.Stack
	c, err := cgroups.Create(&p, &undo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(undo.Run(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(runtime, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	cmd := exec.Command(systemdBinary, "--user", "--unit=basic.target")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(runtime, "notify"), "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=warning")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.FD(), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	go func() {
		ended <- cmd.Wait()
		notify.Close() // wakes a reader that would wait in vain
	}()
	buf := make([]byte, 4096)
	for {
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatal("systemd ended before it was ready: ", err)
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			return c.Path()
		}
	}
}

func TestConnectSaysWhereItLooked(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := Connect(context.Background(), true); err == nil || !strings.Contains(err.Error(), "XDG_RUNTIME_DIR") {
		t.Errorf("without a session: %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if _, err := Connect(context.Background(), true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a bus: %v", err)
	}
}
