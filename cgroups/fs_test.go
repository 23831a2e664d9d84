package cgroups

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/defect"
	"golang.org/x/sys/unix"
)

// host returns the cgroup2 root, and skips the test where it cannot make a
// cgroup in it.
func host(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make cgroups")
	}
	root, _, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	if root == "" {
		t.Skip("no cgroup2 is mounted")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		t.Fatal(err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		t.Skip("the cgroup2 mount is read-only")
	}
	return root
}

// top returns a path below the cgroup2 root that is the test's own, and checks
// at its end that nothing is left of it.
func top(t *testing.T, root string) string {
	t.Helper()
	name := "/gourd-test-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	t.Cleanup(func() {
		if _, err := os.Lstat(root + name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind (%v)", root+name, err)
		}
	})
	return name
}

// create makes the cgroup path, and removes it at the test's end.
func create(t *testing.T, root, path string) *Cgroup {
	t.Helper()
	var d defect.List
	p := Compile(nil, Env{Root: root, Own: "/", ID: "x", CgroupsPath: path}, &d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	return createPlan(t, &p)
}

func createPlan(t *testing.T, p *Plan) *Cgroup {
	t.Helper()
	var undo cleanup.Stack
	c, err := Create(p, &undo)
	if err != nil {
		if err := undo.Run(); err != nil {
			t.Error(err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo.Run(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	return c
}

// run starts a command in the cgroup; it is reaped at the test's end.
func run(t *testing.T, c *Cgroup, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.FD(), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func TestCreateMakesAndRemovesTheWholePath(t *testing.T) {
	root := host(t)
	name := top(t, root)
	c := create(t, root, name+"/a/b")
	want := []string{root + name, root + name + "/a", root + name + "/a/b"}
	if got := c.Record().Made; !slices.Equal(got, want) {
		t.Errorf("Made = %q, want %q", got, want)
	}
	if c.Record().Inode == 0 {
		t.Error("no inode is recorded")
	}
	sleep := run(t, c, "sleep", "1000")
	pids, err := c.Procs()
	if err != nil || !slices.Equal(pids, []int{sleep.Process.Pid}) {
		t.Fatalf("Procs = %v, %v, want [%d]", pids, err, sleep.Process.Pid)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(root + name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the parent is left: %v", err)
	}
}

func TestASharedParentGoesWithTheLastContainer(t *testing.T) {
	root := host(t)
	name := top(t, root)
	first, second := create(t, root, name+"/1"), create(t, root, name+"/2")
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(root + name); err != nil {
		t.Fatalf("the parent is gone though a container is below it: %v", err)
	}
	if err := second.Remove(); err != nil {
		t.Fatal(err)
	}
}

func TestAForeignParentStays(t *testing.T) {
	root := host(t)
	name := top(t, root)
	if err := os.Mkdir(root+name, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(root + name)
	c := create(t, root, name+"/x")
	if got, want := c.Record().Made, []string{root + name + "/x"}; !slices.Equal(got, want) {
		t.Errorf("Made = %q, want %q", got, want)
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(root + name); err != nil {
		t.Error(err)
	}
}

func TestCreateRefuses(t *testing.T) {
	root := host(t)
	name := top(t, root)
	foreign := root + name
	if err := os.MkdirAll(foreign+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(foreign)
	defer os.Remove(foreign + "/sub")
	refused := func(why string) {
		t.Helper()
		p := Plan{Manager: ManagerFS, Root: root, Path: name, Required: true, Devices: Devices{Char: DeviceRules{Allow: true}, Block: DeviceRules{Allow: true}}}
		var undo cleanup.Stack
		c, err := Create(&p, &undo)
		if err == nil {
			c.Close()
			t.Fatalf("a cgroup is taken that should be refused: %s", why)
		}
		if !strings.Contains(err.Error(), why) {
			t.Errorf("error %q does not say %q", err, why)
		}
	}
	write := func(file, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(foreign, file), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}

	sub, err := Attach(Record{Path: foreign + "/sub", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	sleep := run(t, sub, "sleep", "1000")
	refused("has processes in it or below it")
	sleep.Process.Kill()
	sleep.Wait()
	if err := sub.await("populated", false); err != nil {
		t.Fatal(err)
	}

	write("cgroup.freeze", "1")
	refused("frozen")
	write("cgroup.freeze", "0")

	write("sub/cgroup.type", "threaded")
	var d defect.List
	p := Compile(nil, Env{Root: root, Own: "/", CgroupsPath: name + "/new"}, &d)
	var undo cleanup.Stack
	if c, err := Create(&p, &undo); err == nil {
		c.Close()
		undo.Run()
		t.Error("a container is put into a threaded subtree")
	} else if !strings.Contains(err.Error(), "threaded subtree") {
		t.Error(err)
	}

	// Left as it was: what is refused is not removed either.
	if _, err := os.Lstat(foreign + "/sub"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(foreign + "/new"); err == nil {
		t.Error("the refused cgroup is left behind")
	}
}

func TestTwoCreatesOfOneCgroup(t *testing.T) {
	root := host(t)
	name := top(t, root)
	c := create(t, root, name)
	p := Plan{Manager: ManagerFS, Root: root, Path: name, Required: true}
	var undo cleanup.Stack
	if _, err := Create(&p, &undo); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("the second Create: %v, want EBUSY", err)
	}
	if _, err := os.Lstat(c.Path()); err != nil {
		t.Fatalf("the second Create removed the first one's cgroup: %v", err)
	}
}
