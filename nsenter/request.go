package nsenter

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// IDMap is one line of a uid_map or gid_map (user_namespaces(7)): Size ids
// from Inside on are the ids from Outside on, as the parent sees them.
type IDMap struct{ Inside, Outside, Size uint32 }

// Join is an existing namespace to join.
type Join struct {
	Flag uintptr // its CLONE_NEW…; several of them when FD is a pidfd (setns(2), Linux 5.8)
	FD   int     // open file of the namespace, or a pidfd
	Path string  // where FD was opened, for errors
}

// Offset is one line of /proc/PID/timens_offsets (time_namespaces(7)).
type Offset struct {
	Clock    string // "monotonic" or "boottime"
	Secs     int64
	Nanosecs uint32
}

// Request says in which namespaces to execute which program.
type Request struct {
	New     uintptr // CLONE_NEW… of the namespaces to make
	Join    []Join  // namespaces to join; none of them may be in New
	Offsets []Offset

	// JoinMount allows a mount namespace in Join. The runtime of a Go
	// program opens files at its start, which belong to the container once
	// its mount namespace is joined, and may be FIFOs: so this is only for
	// an Exe that is not a Go program. Gourd's init joins the mount
	// namespace itself.
	JoinMount bool

	UIDMaps, GIDMaps []IDMap
	DenySetgroups    bool                // write "deny" to setgroups, as an unprivileged parent must
	MapWriter        func(pid int) error // writes the maps of pid instead of the parent: for newuidmap(1)

	// CgroupFD is the directory of the cgroup v2 that the child is born in,
	// or -1.
	CgroupFD int

	// BeforeUnshareCgroup is called in the parent while the child waits; the
	// child makes its cgroup namespace only when it has returned. It is for
	// a manager that moves the process into its cgroup itself (systemd), and for
	// resctrl, which moves threads: the child has one still. If a
	// second child takes over (see Start), pid is the first: it has handed
	// its cgroup down by then.
	BeforeUnshareCgroup func(pid int) error

	Exe       *os.File // what is executed, by execveat(2) with AT_EMPTY_PATH: an ELF file
	Args, Env []string

	// Finish, in place of Exe and Env, appends the steps from what has
	// been joined to the execve of the program: of a child that needs no Go
	// program to become what it is to be. That child is the stub, so that it
	// may join a mount namespace by a step of Finish. It is undumpable, its
	// signals are blocked, and all its files but those of Keep are
	// close-on-exec. Args, and StubName for its file, are what it shows itself as,
	// if they are given. Uses are further files that the steps need.
	StubName string
	Finish   func(t *Tail)
	Uses     []int
	// Ready is called in the parent before the steps of Finish, when the child
	// that executes the program has joined everything and waits. The parent
	// keeps the child's pidfd. It is for Start; the child of Begin does not wait.
	Ready func(c *Child) error

	Keep  []int  // file descriptors, from 3 on, that stay open under their number; all others are closed
	Stdio [3]int // file descriptors that become 0, 1 and 2; -1 leaves what is there
}

// nsNames holds the kinds of namespaces, in the order in which they are joined:
// the mount namespace late, since it changes what paths mean.
var nsNames = [...]struct {
	flag uintptr
	name string
}{
	{unix.CLONE_NEWNET, "network"},
	{unix.CLONE_NEWIPC, "ipc"},
	{unix.CLONE_NEWUTS, "uts"},
	{unix.CLONE_NEWCGROUP, "cgroup"},
	{unix.CLONE_NEWTIME, "time"},
	{unix.CLONE_NEWPID, "pid"},
	{unix.CLONE_NEWNS, "mount"},
	{unix.CLONE_NEWUSER, "user"},
}

const allNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP |
	unix.CLONE_NEWTIME | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUSER

// names returns the names of the namespaces in flags: "pid and mount
// namespaces", "network namespace".
func names(flags uintptr) string {
	var s string
	left := flags & allNamespaces
	n := 0
	for _, ns := range nsNames {
		if left&ns.flag == 0 {
			continue
		}
		left &^= ns.flag
		switch {
		case n == 0:
		case left == 0:
			s += " and "
		default:
			s += ", "
		}
		s += ns.name
		n++
	}
	if n == 1 {
		return s + " namespace"
	}
	return s + " namespaces"
}

// newNames is names with the article: "a new pid namespace", "new pid and
// mount namespaces".
func newNames(flags uintptr) string {
	s := "new " + names(flags)
	if flags &= allNamespaces; flags&(flags-1) == 0 {
		return "a " + s
	}
	return s
}

// joins returns the flags of all namespaces in r.Join.
func (r *Request) joins() uintptr {
	var f uintptr
	for _, j := range r.Join {
		f |= j.Flag
	}
	return f
}

// check returns what is wrong with r, before anything is done.
func (r *Request) check() error {
	switch joins := r.joins(); {
	case r.Exe == nil && r.Finish == nil:
		return errors.New("no executable")
	case r.Finish != nil && r.Exe != nil:
		return errors.New("own steps to the execve exclude an executable")
	case len(r.Args) == 0 && r.Finish == nil:
		return errors.New("no arguments: argv[0] is missing")
	case r.New&^allNamespaces != 0:
		return fmt.Errorf("flags %#x are not of namespaces", r.New&^allNamespaces)
	case r.New&joins != 0:
		return fmt.Errorf("both to make and to join: %s", names(r.New&joins))
	case joins&unix.CLONE_NEWNS != 0 && !r.JoinMount:
		return errors.New("a mount namespace may not be joined before a Go program is executed")
	case len(r.Offsets) != 0 && r.New&unix.CLONE_NEWTIME == 0:
		return errors.New("time offsets need a new time namespace")
	case len(r.Offsets) != 0 && joins&unix.CLONE_NEWNS != 0:
		return errors.New("time offsets cannot be set in a joined mount namespace, whose /proc is not to be trusted")
	case r.New&unix.CLONE_NEWUSER == 0 && (len(r.UIDMaps) != 0 || len(r.GIDMaps) != 0 || r.MapWriter != nil):
		return errors.New("id maps need a new user namespace")
	}
	seen := uintptr(0)
	for _, j := range r.Join {
		switch {
		case j.Flag == 0 || j.Flag&^allNamespaces != 0:
			return fmt.Errorf("join %s: flags %#x are not of namespaces", j.Path, j.Flag)
		case seen&j.Flag != 0:
			return fmt.Errorf("join %s: a second %s", j.Path, names(seen&j.Flag))
		}
		seen |= j.Flag
	}
	for _, o := range r.Offsets {
		if o.Clock != "monotonic" && o.Clock != "boottime" {
			return fmt.Errorf("clock %q of a time offset is neither monotonic nor boottime", o.Clock)
		}
		if o.Nanosecs > 999_999_999 {
			return fmt.Errorf("time offset of %s: %d nanoseconds are a second or more", o.Clock, o.Nanosecs)
		}
	}
	for _, fd := range r.Keep {
		if fd < 3 {
			return fmt.Errorf("cannot keep file descriptor %d: only those from 3 on", fd)
		}
	}
	return nil
}

// mapsRoot reports whether the maps give the new user namespace a uid 0. A
// MapWriter that was not told the maps is taken to.
func (r *Request) mapsRoot() bool {
	if len(r.UIDMaps) == 0 {
		return r.MapWriter != nil
	}
	for _, m := range r.UIDMaps {
		if m.Inside == 0 && m.Size > 0 {
			return true
		}
	}
	return false
}
