package nsenter

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The ways that this machine does not take by itself.

func TestWithoutClone3(t *testing.T) {
	needRoot(t)
	legacy := forced(func(h *how) { h.clone3 = false })
	t.Run("make all", func(t *testing.T) {
		r := request(t, "look")
		r.New = allNamespaces
		r.UIDMaps, r.GIDMaps = rootMaps, rootMaps
		r.Offsets = []Offset{{"monotonic", 99, 0}}
		s, _ := runWith(t, r, legacy)
		checkNew(t, s, allNamespaces)
		if s.PID != 1 || s.UID != 0 || !strings.Contains(s.Offsets, " 99 ") {
			t.Errorf("pid %d, uid %d, offsets %s", s.PID, s.UID, s.Offsets)
		}
	})
	t.Run("join all", func(t *testing.T) {
		r := request(t, "look")
		r.Join, r.JoinMount = target(t, allNamespaces), true
		s, _ := runWith(t, r, legacy)
		checkJoined(t, s, r.Join)
	})
	t.Run("cgroup", func(t *testing.T) {
		dir := cgroup(t)
		r := request(t, "look")
		r.CgroupFD, r.New = int(dir.Fd()), unix.CLONE_NEWCGROUP|unix.CLONE_NEWUSER
		r.UIDMaps, r.GIDMaps = rootMaps, rootMaps
		s, _ := runWith(t, r, legacy)
		checkNew(t, s, r.New)
		if got := cgroup2(s); got != "/" {
			t.Errorf("the child's cgroup, as its namespace shows it, is %q", got)
		}
	})
}

func TestMapsOnDemand(t *testing.T) {
	needRoot(t)
	r := request(t, "look")
	r.New, r.UIDMaps, r.GIDMaps = unix.CLONE_NEWUSER, rootMaps, rootMaps
	s, _ := runWith(t, r, forced(func(h *how) { h.askForMaps, h.mapsByOwner = true, true }))
	checkNew(t, s, r.New)
	if s.UID != 0 {
		t.Errorf("uid %d", s.UID)
	}
}

// TestStubAlways executes the stub where it is not needed.
func TestStubAlways(t *testing.T) {
	needRoot(t)
	r := request(t, "look")
	// Not with a user namespace made by the clone: the execve of the stub would
	// be before it has a root.
	r.New = allNamespaces &^ unix.CLONE_NEWUSER
	s, _ := runWith(t, r, forced(func(h *how) { h.stub = true }))
	checkNew(t, s, r.New)
}

// TestRootNotMapped makes and joins a user namespace without a uid 0.
func TestRootNotMapped(t *testing.T) {
	needRoot(t)
	full := func(t *testing.T, s seen) {
		t.Helper()
		if s.UID == 0 || s.Status["CapEff"] != s.Status["CapBnd"] || s.Status["CapEff"] == "0000000000000000" {
			t.Errorf("uid %d has the capabilities %s of %s", s.UID, s.Status["CapEff"], s.Status["CapBnd"])
		}
	}
	r := request(t, "look")
	r.New = unix.CLONE_NEWUSER
	r.UIDMaps = []IDMap{{1000, 0, 1}}
	r.GIDMaps = []IDMap{{1000, 0, 1}}
	t.Run("make", func(t *testing.T) { full(t, run(t, r)) })

	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Args = []string{helperName, "wait"}
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r.Stdio = [3]int{int(stdin.Fd()), int(null.Fd()), -1}
	c, err := Start(r)
	stdin.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { hold.Close(); waitExit(t, c, 0) }()
	path := "/proc/" + itoa(c.PID) + "/ns/user"
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Run("join", func(t *testing.T) {
		r := request(t, "look")
		r.Join = []Join{{unix.CLONE_NEWUSER, int(f.Fd()), path}}
		full(t, run(t, r))
	})
}

// cgroup makes a cgroup of version 2, which the end of the test removes.
func cgroup(t *testing.T) *os.File {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir := root + "/gourd-nsenter-test-" + itoa(os.Getpid())
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("no cgroup can be made: %v", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Skip("no cgroup2 is mounted")
	return nil
}

// cgroup2 returns the path of s in the hierarchy of version 2.
func cgroup2(s seen) string {
	_, path, _ := strings.Cut("\n"+s.Cgroup, "\n0::")
	path, _, _ = strings.Cut(path, "\n")
	return path
}
