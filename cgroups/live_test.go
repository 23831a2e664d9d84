package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/cleanup"
)

// dead waits for the end of a command and tells whether a signal ended it.
func dead(t *testing.T, cmd *exec.Cmd, sig unix.Signal) {
	t.Helper()
	cmd.Wait()
	ws, ok := cmd.ProcessState.Sys().(interface{ Signal() unix.Signal })
	if !ok || ws.Signal() != sig {
		t.Errorf("process ended with %v, want signal %v", cmd.ProcessState, sig)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	run(t, c, "sh", "-c", "while :; do :; done")
	for range 3 {
		if err := c.Freeze(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := c.Frozen(); err != nil || !frozen {
			t.Fatalf("Frozen = %v, %v after Freeze", frozen, err)
		}
		if err := c.Thaw(); err != nil {
			t.Fatal(err)
		}
		if frozen, err := c.Frozen(); err != nil || frozen {
			t.Fatalf("Frozen = %v, %v after Thaw", frozen, err)
		}
	}
}

func TestAwaitWaits(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	cmd := run(t, c, "sleep", "1000")
	result := make(chan error)
	go func() {
		err := c.await("populated", false)
		if populated, errNow := c.Populated(); err == nil && (populated || errNow != nil) {
			err = fmt.Errorf("await returned while Populated = %v, %v", populated, errNow)
		}
		result <- err
	}()
	if err := c.Freeze(); err != nil { // gives await a change that it has to pass over
		t.Fatal(err)
	}
	if err := c.Thaw(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-result:
		t.Fatal("await did not wait: ", err)
	default:
	}
	cmd.Process.Kill()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestFrozenFromAbove(t *testing.T) {
	root := host(t)
	name := top(t, root)
	c := create(t, root, name+"/below")
	cmd := run(t, c, "sleep", "1000")
	above, err := Attach(Record{Path: root + name, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer above.Close()
	if err := above.Freeze(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := c.Frozen(); err != nil || !frozen {
		t.Errorf("Frozen = %v, %v", frozen, err)
	}
	if err := c.Thaw(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("Thaw = %v, want EBUSY", err)
	}
	// What is frozen can be killed and removed all the same.
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	dead(t, cmd, unix.SIGKILL)
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
}

func TestKill(t *testing.T) {
	// A shell that is killed while it forks, and a process in a sub-cgroup.
	const bomb = `i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; wait`
	for _, tt := range []struct {
		name   string
		freeze bool
		kill   func(*Cgroup) error
	}{
		{"cgroup.kill", false, (*Cgroup).Kill},
		{"cgroup.kill, frozen", true, (*Cgroup).Kill},
		{"one by one, as before 5.14", false, (*Cgroup).killFrozen},
		{"one by one, frozen", true, (*Cgroup).killFrozen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := host(t)
			c := create(t, root, "/gourd-test-kill")
			if err := os.Mkdir(c.Path()+"/sub", 0o755); err != nil {
				t.Fatal(err)
			}
			sub, err := c.Sub("sub")
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			inSub := run(t, &Cgroup{fd: int(sub.Fd())}, "sleep", "1000")
			cmd := run(t, c, "sh", "-c", bomb)
			if tt.freeze {
				if err := c.Freeze(); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.kill(c); err != nil {
				t.Fatal(err)
			}
			dead(t, cmd, unix.SIGKILL)
			dead(t, inSub, unix.SIGKILL)
			if err := c.Remove(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(c.Path()); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the cgroup is left behind")
			}
		})
	}
}

func TestRemoveTakesWhatTheContainerMade(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	deep := c.Path() + strings.Repeat("/d", 300)
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.Path()+"/x/y", 0o755); err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after != before-1 { // the directory's own
		t.Errorf("%d fds before, %d after", before, after)
	}
}

func TestRemoveOfATakenCgroupLeavesIt(t *testing.T) {
	root := host(t)
	name := top(t, root)
	if err := os.MkdirAll(root+name+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(root + name)
	defer os.Remove(root + name + "/sub")
	c := create(t, root, name)
	if err := c.Kill(); !errors.Is(err, ErrNotMade) {
		t.Errorf("Kill = %v, want ErrNotMade", err)
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(root + name + "/sub"); err != nil {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root)+"/x")
	again, err := Open(c.Record())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	sleep := run(t, again, "sleep", "1000")
	if pids, err := c.Procs(); err != nil || !slices.Equal(pids, []int{sleep.Process.Pid}) {
		t.Fatalf("Procs = %v, %v", pids, err)
	}
	if err := again.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}

	// What has gone is neither populated nor frozen, and can be removed again.
	isGone := func(c *Cgroup) {
		t.Helper()
		if pids, err := c.Procs(); err != nil || pids != nil {
			t.Errorf("Procs = %v, %v", pids, err)
		}
		if frozen, err := c.Frozen(); err != nil || frozen {
			t.Errorf("Frozen = %v, %v", frozen, err)
		}
		if err := c.Kill(); err != nil {
			t.Errorf("Kill = %v", err)
		}
		if err := c.Freeze(); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			t.Errorf("Freeze = %v", err)
		}
	}
	isGone(c) // still holds a directory fd
	goneOne, err := Open(c.Record())
	if err != nil {
		t.Fatal(err)
	}
	isGone(goneOne)
	if err := goneOne.Remove(); err != nil {
		t.Error(err)
	}

	// Another cgroup of the same name is not the container's.
	other := create(t, root, "/gourd-test-testopen/x")
	stale, err := Open(c.Record())
	if err != nil {
		t.Fatal(err)
	}
	defer stale.Close()
	isGone(stale)
	if err := stale.Remove(); err != nil {
		t.Error(err)
	}
	if populated, err := other.Populated(); err != nil || populated {
		t.Errorf("Populated = %v, %v", populated, err)
	}
	if _, err := os.Lstat(other.Path()); err != nil {
		t.Errorf("the new cgroup was removed for the old one: %v", err)
	}
}

func TestOpenRefusesWhatIsNoCgroup(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Record{Path: dir}); err == nil || !strings.Contains(err.Error(), "not on a cgroup2 filesystem") {
		t.Errorf("Open(%s) = %v", dir, err)
	}
	if _, err := Open(Record{Path: "relative"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Open of a relative path = %v", err)
	}
}

func TestNone(t *testing.T) {
	c, err := Create(&Plan{Manager: ManagerNone}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Kill": c.Kill(), "Freeze": c.Freeze(), "Thaw": c.Thaw(), "Signal": c.Signal(0), "Add": c.Add(1)} {
		if !errors.Is(err, ErrNone) {
			t.Errorf("%s = %v, want ErrNone", name, err)
		}
	}
	if c.FD() != -1 {
		t.Errorf("FD = %d", c.FD())
	}
	if err := errors.Join(c.Late(&Plan{}), c.Remove(), c.Close()); err != nil {
		t.Error(err)
	}
	again, err := Open(c.Record())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Kill(); !errors.Is(err, ErrNone) {
		t.Errorf("Kill after Open = %v, want ErrNone", err)
	}
}

func TestSignal(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	a, b := run(t, c, "sleep", "1000"), run(t, c, "sleep", "1000")
	if err := c.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	dead(t, a, unix.SIGTERM)
	dead(t, b, unix.SIGTERM)
}

func TestSubAndBeside(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	if err := os.MkdirAll(c.Path()+"/in/ner", 0o755); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Sub("/in/ner")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	sleep := run(t, &Cgroup{fd: int(sub.Fd())}, "sleep", "1000")
	of, err := Beside(c.Record(), sleep.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer of.Close()
	if of.Name() != c.Path()+"/in/ner" {
		t.Errorf("Beside = %s", of.Name())
	}
	if f, err := c.Sub("../.."); err != nil {
		t.Error(err)
	} else {
		defer f.Close()
		if f.Name() != c.Path() {
			t.Errorf("Sub(../..) = %s", f.Name())
		}
	}
	if _, err := c.Sub("nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Sub(nowhere) = %v", err)
	}
	pids, err := c.Procs()
	if err != nil || !slices.Equal(pids, []int{sleep.Process.Pid}) {
		t.Errorf("Procs = %v, %v, want the one in the sub-cgroup", pids, err)
	}
	if err := c.Add(sleep.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if of, err := Beside(c.Record(), sleep.Process.Pid); err != nil || of.Name() != c.Path() {
		t.Errorf("after Add, Beside = %v, %v", of, err)
	} else {
		of.Close()
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
}

// openFDs counts this process's fds.
func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A Create whose process was killed has left its directories, and perhaps a
// process; a cgroup that is somebody else's is left alone.
func TestRemoveHalfMade(t *testing.T) {
	root := host(t)
	p := &Plan{Manager: ManagerFS, Root: root, Path: top(t, root) + "/a/b", For: "/run/x/web"}
	var undo cleanup.Stack
	c, err := Create(p, &undo)
	if err != nil {
		t.Fatal(err)
	}
	dir := c.Path()
	sleep := run(t, c, "sleep", "1000")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"/run/x/other", ""} {
		if err := RemoveHalfMade(dir, other); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("removed for %q: %v", other, err)
		}
	}
	if err := RemoveHalfMade(dir, "/run/x/web"); err != nil {
		t.Error(err)
	}
	dead(t, sleep, unix.SIGKILL)
	for _, d := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", d, err)
		}
	}
	if err := RemoveHalfMade(dir, "/run/x/web"); err != nil {
		t.Errorf("once more: %v", err)
	}
}
