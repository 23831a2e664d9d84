package nsenter

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// whys returns the reasons of the steps, a line each; the first clone's first,
// and repetitions once.
func whys(p *program) string {
	lines := []string{p.cloneWhy()}
	add := func(t *Table) {
		for _, s := range t.Steps {
			if s.Kind == Jump {
				continue
			}
			if lines[len(lines)-1] != s.Why {
				lines = append(lines, s.Why)
			}
		}
	}
	add(&p.first)
	add(&p.second)
	return strings.Join(lines, "\n")
}

func TestCompileOrder(t *testing.T) {
	exe := os.NewFile(^uintptr(0)>>1, "gourd") // a number that is never used
	plain := how{clone3: true, socket: 4, peer: 3, cgroupProcs: -1}
	stub := plain
	stub.stub = true
	noClone3 := plain
	noClone3.clone3 = false
	nofile := plain
	nofile.nofile = &[2]uint64{1024, 4096}
	ask := plain
	ask.askForMaps, ask.mapsByOwner = true, true
	own := plain
	own.ownUser = true

	const begin = "close the parent's end of the conversation\nname the child\nreset a signal's action\n"
	const wait = "wait for gourd to prepare the child\n"
	const root = "drop the supplementary groups\nbecome group 0 of the user namespace\nbecome user 0 of the user namespace\n"
	const finish = "announce the execution of gourd\nrestore the signal mask\nexecute gourd"
	const end = "close all file descriptors on exec\n" + finish
	const second = "clone the second child\ntell gourd of the second child\nleave the rest to the second child\n"
	ns := func(flags ...uintptr) (j []Join) {
		for i, f := range flags {
			j = append(j, Join{f, 10 + i, fmt.Sprintf("/ns/%d", i)})
		}
		return j
	}
	hook := func(int) error { return nil }

	for _, tt := range []struct {
		name string
		r    Request
		h    how
		want string
	}{
		{"nothing", Request{}, plain, "clone the child\n" + begin + end},
		{"a container as usual", Request{New: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP, CgroupFD: 9}, plain,
			"clone the child in new cgroup, pid and mount namespaces, in its cgroup\n" + begin + end},
		{"a user namespace", Request{New: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, UIDMaps: rootMaps, GIDMaps: rootMaps}, plain,
			"clone the child in new pid and user namespaces\n" + begin + wait + root + end},
		{"a user and an ipc namespace", Request{New: unix.CLONE_NEWUSER | unix.CLONE_NEWIPC | unix.CLONE_NEWPID, UIDMaps: rootMaps, GIDMaps: rootMaps}, plain,
			"clone the child in new pid and user namespaces\n" + begin + wait + root + "make a new ipc namespace\n" + end},
		{"setgroups denied", Request{New: unix.CLONE_NEWUSER, UIDMaps: rootMaps, DenySetgroups: true}, plain,
			"clone the child in a new user namespace\n" + begin + wait + strings.TrimPrefix(root, "drop the supplementary groups\n") + end},
		{"no root in it", Request{New: unix.CLONE_NEWUSER, UIDMaps: []IDMap{{1, 1, 1}}}, plain,
			"clone the child in a new user namespace\n" + begin + wait + "make the capabilities inheritable\nmake the capabilities ambient\n" + end},
		{"an undumpable gourd", Request{New: unix.CLONE_NEWUSER, UIDMaps: rootMaps}, ask,
			"clone the child in a new user namespace\n" + begin + "become dumpable\nask gourd for the user namespace's maps\n" +
				"wait for the user namespace's maps\nbecome undumpable\n" + root + end},
		{"the systemd manager", Request{New: unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS, BeforeUnshareCgroup: hook}, plain,
			"clone the child in a new uts namespace\n" + begin + wait + "make a new cgroup namespace\n" + end},
		{"a time namespace", Request{New: unix.CLONE_NEWTIME | unix.CLONE_NEWPID}, plain,
			"clone the child in new time and pid namespaces\n" + begin + end},
		{"time offsets", Request{New: unix.CLONE_NEWTIME | unix.CLONE_NEWPID | unix.CLONE_NEWNS, Offsets: []Offset{{"boottime", 1, 0}}}, plain,
			"clone the child in a new mount namespace\n" + begin + "make a new time namespace\nbecome dumpable\nopen /proc/self/timens_offsets\n" +
				"set the time offsets\nclose /proc/self/timens_offsets\nbecome undumpable\n" + second + end},
		{"no clone3", Request{New: unix.CLONE_NEWTIME | unix.CLONE_NEWCGROUP | unix.CLONE_NEWPID, CgroupFD: 9}, func() how { h := noClone3; h.cgroupProcs = 8; return h }(),
			"clone the child\n" + begin + "join the cgroup\nmake a new cgroup namespace\nmake a new time namespace\n" + second + end},
		{"join a network namespace", Request{New: unix.CLONE_NEWPID, Join: ns(unix.CLONE_NEWNET)}, plain,
			"clone the child in a new pid namespace\n" + begin + "become undumpable\njoin the network namespace /ns/0\n" + end},
		{"join a network namespace, make a user namespace", Request{New: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
			Join: ns(unix.CLONE_NEWNET), UIDMaps: rootMaps}, plain,
			"clone the child\n" + begin + "become undumpable\njoin the network namespace /ns/0\nmake a new user namespace\n" +
				"ask gourd for the user namespace's maps\nwait for the user namespace's maps\n" + root +
				"make a new uts namespace\n" + second + end},
		{"join with a user namespace", Request{New: unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP, Join: ns(unix.CLONE_NEWUSER, unix.CLONE_NEWNET, unix.CLONE_NEWIPC),
			CgroupFD: 9}, stub,
			"clone the child, in its cgroup\n" + begin +
				"keep file descriptor 4 open for the stub\nkeep file descriptor EXE open for the stub\nkeep file descriptor 10 open for the stub\n" +
				"keep file descriptor 11 open for the stub\nkeep file descriptor 12 open for the stub\nexecute the stub\nname the child\n" +
				"close file descriptor 4 on exec\nclose file descriptor EXE on exec\nclose file descriptor 10 on exec\n" +
				"close file descriptor 11 on exec\nclose file descriptor 12 on exec\nbecome undumpable\n" +
				"join the network namespace /ns/1\njoin the ipc namespace /ns/2\njoin the user namespace /ns/0\n" +
				"join the network namespace /ns/1\njoin the ipc namespace /ns/2\n" + root +
				"make the capabilities inheritable\nmake the capabilities ambient\n" +
				"make a new uts namespace\nmake a new cgroup namespace\n" + second + end},
		{"our own user namespace", Request{Join: ns(unix.CLONE_NEWUSER, unix.CLONE_NEWIPC)}, own,
			"clone the child\n" + begin + "become undumpable\njoin the ipc namespace /ns/1\n" + end},
		{"files", Request{Stdio: [3]int{1, -1, 7}, Keep: []int{5, 6}}, nofile,
			"clone the child\n" + begin + "duplicate file descriptor 1\nmake file descriptor 1 number 0\nmake file descriptor 7 number 2\n" +
				"close all file descriptors on exec\nkeep file descriptor 5\nkeep file descriptor 6\nrestore the limit on open files\n" + finish},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Exe, tt.r.Args, tt.r.JoinMount = exe, []string{"gourd"}, true
			if tt.r.CgroupFD == 0 {
				tt.r.CgroupFD = -1
			}
			if tt.r.Stdio == [3]int{} {
				tt.r.Stdio = [3]int{-1, -1, -1}
			}
			if err := tt.r.check(); err != nil {
				t.Fatal(err)
			}
			got := whys(compile(&tt.r, tt.h))
			want := strings.ReplaceAll(tt.want, "EXE", itoa(int(exe.Fd())))
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestTargets checks of every table of a hard request that its jumps and its
// addresses stay inside.
func TestTargets(t *testing.T) {
	exe := os.NewFile(^uintptr(0)>>1, "gourd")
	r := Request{
		New: unix.CLONE_NEWTIME | unix.CLONE_NEWPID, Offsets: []Offset{{"boottime", 1, 0}}, CgroupFD: -1,
		Join: []Join{{unix.CLONE_NEWUSER, 7, "u"}, {unix.CLONE_NEWNET, 8, "n"}}, Exe: exe, Args: []string{"a", "b"}, Env: []string{"C=d"},
		Stdio: [3]int{2, 1, 0},
	}
	p := compile(&r, how{clone3: false, stub: true, cgroupProcs: 5})
	for _, table := range []*Table{&p.first, &p.second} {
		for i, s := range table.Steps {
			if s.Target < 0 || s.Target >= len(table.Steps) || s.Target != 0 && s.Target <= i {
				t.Errorf("step %d (%s) goes on at %d of %d", i, s.Why, s.Target, len(table.Steps))
			}
			for _, a := range append(s.Args[:], s.Save) {
				if a.kind != argNum && a != argMask && int(a.n) >= len(table.data) {
					t.Errorf("step %d (%s) points at %d of %d", i, s.Why, a.n, len(table.data))
				}
			}
		}
		if last := table.Steps[len(table.Steps)-1]; last.Trap != unix.SYS_EXECVEAT {
			t.Errorf("the table ends with %q", last.Why)
		}
	}
	if p.step(len(p.first.Steps)) != &p.second.Steps[0] || p.step(-1) != nil || p.step(len(p.first.Steps)+len(p.second.Steps)) != nil {
		t.Error("program.step returns another step")
	}
}

func TestCheck(t *testing.T) {
	exe := os.NewFile(^uintptr(0)>>1, "gourd")
	good := Request{Exe: exe, Args: []string{"a"}, CgroupFD: -1}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Request){
		"no executable":   func(r *Request) { r.Exe = nil },
		"no arguments":    func(r *Request) { r.Args = nil },
		"flags 0x100":     func(r *Request) { r.New = unix.CLONE_VM },
		"both to make":    func(r *Request) { r.New = unix.CLONE_NEWNET; r.Join = []Join{{unix.CLONE_NEWNET, 3, "x"}} },
		"a mount":         func(r *Request) { r.Join = []Join{{unix.CLONE_NEWNS, 3, "x"}} },
		"join x: flags 0": func(r *Request) { r.Join = []Join{{0, 3, "x"}} },
		"join y: a second network namespace": func(r *Request) {
			r.Join = []Join{{unix.CLONE_NEWNET, 3, "x"}, {unix.CLONE_NEWNET, 4, "y"}}
		},
		"need a new time": func(r *Request) { r.Offsets = []Offset{{"boottime", 1, 0}} },
		"clock \"real\"":  func(r *Request) { r.New = unix.CLONE_NEWTIME; r.Offsets = []Offset{{"real", 1, 0}} },
		"a second or more": func(r *Request) {
			r.New = unix.CLONE_NEWTIME
			r.Offsets = []Offset{{"boottime", 1, 1_000_000_000}}
		},
		"joined mount": func(r *Request) {
			r.New, r.JoinMount = unix.CLONE_NEWTIME, true
			r.Offsets, r.Join = []Offset{{"boottime", 1, 0}}, []Join{{unix.CLONE_NEWNS, 3, "x"}}
		},
		"need a new user": func(r *Request) { r.UIDMaps = rootMaps },
		"descriptor 2":    func(r *Request) { r.Keep = []int{2} },
	} {
		r := good
		change(&r)
		if err := r.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for flags, want := range map[uintptr]string{
		unix.CLONE_NEWNET:                       "network namespace",
		unix.CLONE_NEWPID | unix.CLONE_NEWNS:    "pid and mount namespaces",
		allNamespaces:                           "network, ipc, uts, cgroup, time, pid, mount and user namespaces",
		unix.CLONE_NEWUSER | unix.CLONE_NEWTIME: "time and user namespaces",
	} {
		if got := names(flags); got != want {
			t.Errorf("names(%#x) is %q, want %q", flags, got, want)
		}
	}
}
