package nsenter

import (
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// self returns this test binary.
func self(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// request returns a Request for the helper that asks for nothing else.
func request(t *testing.T, args ...string) Request {
	t.Helper()
	return Request{
		CgroupFD: -1,
		Exe:      self(t),
		Args:     append([]string{helperName}, args...),
		Stdio:    [3]int{-1, -1, -1},
	}
}

// run starts r, whose program is the looking helper, and returns what that
// saw.
func run(t *testing.T, r Request) seen {
	t.Helper()
	s, _ := runPID(t, r)
	return s
}

func runPID(t *testing.T, r Request) (seen, int) {
	t.Helper()
	return runWith(t, r, Start)
}

// forced is Start with other facts than those of this machine.
func forced(change func(*how)) func(Request) (*Child, error) {
	return func(r Request) (*Child, error) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		mask, err := ownMask()
		if err != nil {
			return nil, err
		}
		h, err := facts(&r)
		if err != nil {
			return nil, err
		}
		change(&h)
		c := &conversation{r: &r}
		if h.clone3 {
			err = c.clone(h, mask)
		} else {
			err = c.cloneWithoutClone3(h, mask)
		}
		if err != nil {
			return nil, err
		}
		return c.executed()
	}
}

func runWith(t *testing.T, r Request, start func(Request) (*Child, error)) (seen, int) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r.Stdio[1] = int(in.Fd())
	c, err := start(r)
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	waitExit(t, c, 0)
	var s seen
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return s, c.PID
}

// waitExit reaps c and checks its exit status, and that its pidfd is its.
func waitExit(t *testing.T, c *Child, want int) {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, int(c.PIDFD.Fd()), &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Errorf("waitid of the pidfd: %v", err)
	}
	ws, ok := reap(c.PID)
	if !ok || !ws.Exited() || ws.ExitStatus() != want {
		t.Errorf("child's wait status is %#x (%v), want exit status %d", ws, ok, want)
	}
	c.PIDFD.Close()
}

// nsFile is the name in /proc/PID/ns of each namespace.
var nsFile = []struct {
	flag uintptr
	file string
}{
	{unix.CLONE_NEWUSER, "user"}, {unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWNS, "mnt"}, {unix.CLONE_NEWNET, "net"},
	{unix.CLONE_NEWUTS, "uts"}, {unix.CLONE_NEWIPC, "ipc"}, {unix.CLONE_NEWCGROUP, "cgroup"}, {unix.CLONE_NEWTIME, "time"},
}

// checkNew checks that exactly the namespaces in flags are others than ours.
func checkNew(t *testing.T, s seen, flags uintptr) {
	t.Helper()
	own := look().NS
	for _, n := range nsFile {
		if isNew := s.NS[n.file] != own[n.file]; isNew != (flags&n.flag != 0) {
			t.Errorf("%s namespace: ours %s, the child's %s", n.file, own[n.file], s.NS[n.file])
		}
	}
}

var rootMaps = []IDMap{{0, 100000, 65536}}

func TestNewNamespaces(t *testing.T) {
	needRoot(t)
	all := uintptr(0)
	for _, n := range nsFile {
		all |= n.flag
		t.Run(n.file, func(t *testing.T) {
			r := request(t, "look")
			r.New = n.flag
			checkNew(t, run(t, r), n.flag)
		})
	}
	for name, offsets := range map[string][]Offset{"all": nil, "all with offsets": {{"monotonic", 86400, 5}, {"boottime", -1, 0}}} {
		t.Run(name, func(t *testing.T) {
			r := request(t, "look")
			r.New, r.Offsets = all, offsets
			r.UIDMaps, r.GIDMaps = rootMaps, rootMaps
			s := run(t, r)
			checkNew(t, s, all)
			if s.PID != 1 || s.UID != 0 || s.GID != 0 {
				t.Errorf("pid %d, uid %d, gid %d", s.PID, s.UID, s.GID)
			}
			if got := strings.Fields(s.UIDMap + " " + s.GIDMap); strings.Join(got, " ") != "0 100000 65536 0 100000 65536" {
				t.Errorf("maps are %q", got)
			}
			if s.Status["CapEff"] != s.Status["CapBnd"] || s.Status["CapEff"] == "0000000000000000" {
				t.Errorf("effective capabilities are %s", s.Status["CapEff"])
			}
			got := strings.Join(strings.Fields(s.Offsets), " ")
			want := "monotonic 0 0 boottime 0 0"
			if offsets != nil {
				want = "monotonic 86400 5 boottime -1 0"
			}
			if got != want {
				t.Errorf("offsets are %q, want %q", got, want)
			}
		})
	}
	t.Run("none", func(t *testing.T) { checkNew(t, run(t, request(t, "look")), 0) })
}

// target starts a helper in new namespaces of the kinds in flags and returns
// joins of these.
func target(t *testing.T, flags uintptr) []Join {
	t.Helper()
	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, "wait")
	r.New = flags
	if flags&unix.CLONE_NEWUSER != 0 {
		r.UIDMaps, r.GIDMaps = rootMaps, rootMaps
	}
	r.Stdio = [3]int{int(stdin.Fd()), int(in.Fd()), -1}
	c, err := Start(r)
	stdin.Close()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hold.Close()
		out.Close()
		waitExit(t, c, 0)
	})
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	var joins []Join
	for _, n := range nsFile {
		if flags&n.flag == 0 {
			continue
		}
		path := "/proc/" + itoa(c.PID) + "/ns/" + n.file
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		joins = append(joins, Join{n.flag, int(f.Fd()), path})
	}
	return joins
}

// checkJoined checks that s is in the namespaces of joins.
func checkJoined(t *testing.T, s seen, joins []Join) {
	t.Helper()
	for _, j := range joins {
		want, err := os.Readlink(j.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.NS[j.Path[strings.LastIndexByte(j.Path, '/')+1:]]; got != want {
			t.Errorf("%s is %s, the child has %s", j.Path, want, got)
		}
	}
}

func TestJoinAllEight(t *testing.T) {
	needRoot(t)
	joins := target(t, allNamespaces)
	if len(joins) != 8 {
		t.Fatalf("%d joins", len(joins))
	}
	exe, err := Self(true)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	r := request(t, "look")
	r.Join, r.JoinMount, r.Exe = joins, true, exe
	s, pid := runPID(t, r)
	checkJoined(t, s, joins)
	checkNew(t, s, allNamespaces)
	if s.UID != 0 || s.PID == 1 || s.PID == pid {
		t.Errorf("uid %d, pid %d inside and %d outside", s.UID, s.PID, pid)
	}
	if len(s.Files) != 0 {
		t.Errorf("open files: %v", s.Files)
	}
}

func TestJoinEach(t *testing.T) {
	needRoot(t)
	joins := target(t, allNamespaces)
	for _, j := range joins {
		t.Run(names(j.Flag), func(t *testing.T) {
			r := request(t, "look")
			r.Join, r.JoinMount = []Join{j}, true
			s := run(t, r)
			checkJoined(t, s, r.Join)
			checkNew(t, s, j.Flag)
		})
	}
}

// TestJoinAndMake joins some namespaces and makes the others, with every
// reason for a second child.
func TestJoinAndMake(t *testing.T) {
	needRoot(t)
	const rest = allNamespaces &^ (unix.CLONE_NEWUSER | unix.CLONE_NEWNET)
	t.Run("join user and network", func(t *testing.T) {
		r := request(t, "look")
		r.Join = target(t, unix.CLONE_NEWUSER|unix.CLONE_NEWNET)
		r.New = rest
		s := run(t, r)
		checkJoined(t, s, r.Join)
		checkNew(t, s, allNamespaces)
		if s.PID != 1 || s.UID != 0 {
			t.Errorf("pid %d, uid %d", s.PID, s.UID)
		}
	})
	// The network namespace is not owned by the user namespace that is made.
	t.Run("join network, make user", func(t *testing.T) {
		r := request(t, "look")
		r.Join = target(t, unix.CLONE_NEWNET)
		r.New = rest | unix.CLONE_NEWUSER
		r.UIDMaps, r.GIDMaps = rootMaps, rootMaps
		r.Offsets = []Offset{{"boottime", 77, 0}}
		s := run(t, r)
		checkJoined(t, s, r.Join)
		checkNew(t, s, allNamespaces)
		if s.PID != 1 || s.UID != 0 || !strings.Contains(s.Offsets, " 77 ") {
			t.Errorf("pid %d, uid %d, offsets %s", s.PID, s.UID, s.Offsets)
		}
	})
	// The network namespace is not owned by the user namespace to join.
	t.Run("join unrelated user and network", func(t *testing.T) {
		r := request(t, "look")
		r.Join = append(target(t, unix.CLONE_NEWUSER), target(t, unix.CLONE_NEWNET)...)
		s := run(t, r)
		checkJoined(t, s, r.Join)
		checkNew(t, s, unix.CLONE_NEWUSER|unix.CLONE_NEWNET)
	})
	t.Run("join pid", func(t *testing.T) {
		r := request(t, "look")
		r.Join = target(t, unix.CLONE_NEWPID)
		r.New = unix.CLONE_NEWUTS
		s := run(t, r)
		checkJoined(t, s, r.Join)
		checkNew(t, s, unix.CLONE_NEWPID|unix.CLONE_NEWUTS)
	})
	t.Run("own user namespace", func(t *testing.T) {
		f, err := os.Open("/proc/self/ns/user")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := request(t, "look")
		r.Join = []Join{{unix.CLONE_NEWUSER, int(f.Fd()), f.Name()}}
		checkNew(t, run(t, r), 0)
	})
}

func TestJoinByPidfd(t *testing.T) {
	needRoot(t)
	joins := target(t, allNamespaces)
	pid := strings.Split(joins[0].Path, "/")[2]
	fd, err := unix.PidfdOpen(atoi(t, pid), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r := request(t, "look")
	r.Join, r.JoinMount = []Join{{allNamespaces, fd, "of process " + pid}}, true
	checkJoined(t, run(t, r), joins)
}
