package nsenter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Child is a process that has executed the program of a Request.
type Child struct {
	PID   int      // as the caller's pid namespace numbers it
	PIDFD *os.File // the caller closes it, and reaps the child
}

// Start executes r.Exe in the namespaces that r asks for. It returns when the
// program has been executed, or with the error of what failed; then there is
// no child any more. A system call that failed in the child is a *StepError.
//
// The child is always the caller's own, also where a second process had to be
// made on the way because a pid namespace is joined. It has the signal mask of
// the caller's thread, default actions for all signals,
// and the limit on open files that the caller was started with.
//
// Two things cannot be known. A child that a signal kills in the instant of the
// execve may be returned as one that has been executed; waiting for it tells.
// And if a signal kills the first child in the instant between having made the
// second and saying so, the error leaves the second running.
func Start(r Request) (*Child, error) {
	defer trace.Begin("start the raw child").End()
	if r.Finish != nil && r.Ready == nil {
		return nil, errors.New("own steps to the execve need somebody who is told that they begin")
	}
	c, err := spawnFor(&r)
	if err != nil {
		return nil, err
	}
	child, err := c.executed()
	runtime.KeepAlive(r.Exe)
	return child, err
}

// executed returns the child when it has executed the program.
func (c *conversation) executed() (*Child, error) {
	err := c.hold()
	runtime.KeepAlive(c.image) // the child may have worked on it until now
	if err != nil {
		return nil, err
	}
	return &Child{PID: c.pid, PIDFD: os.NewFile(uintptr(c.pidfd), "pidfd")}, nil
}

// spawnFor makes the child of r.
func spawnFor(r *Request) (*conversation, error) {
	if !supported {
		return nil, errUnsupported
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	// The signal mask is the thread's, and what is unshared of it too.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mask, err := ownMask()
	if err != nil {
		return nil, fmt.Errorf("read the signal mask: %w", err)
	}
	h, err := facts(r)
	if err != nil {
		return nil, err
	}
	c := &conversation{r: r}
	err = c.clone(h, mask)
	if refused, ok := err.(*cloneError); ok && refused.clone3Missing() {
		err = c.cloneWithoutClone3(h, mask)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// facts returns what compile has to know.
func facts(r *Request) (how, error) {
	h := how{clone3: true, cgroupProcs: -1, nofile: raisedNofile()}
	joins := r.joins()
	for _, j := range r.Join {
		if j.Flag != unix.CLONE_NEWUSER {
			continue
		}
		own, err := isOwnUser(j)
		if err != nil {
			return h, err
		}
		if own {
			h.ownUser = true
			joins &^= unix.CLONE_NEWUSER
		}
	}
	h.stub = joins&(unix.CLONE_NEWUSER|unix.CLONE_NEWPID|unix.CLONE_NEWNS) != 0 || r.Finish != nil
	// newuidmap(1) acts for the owner, too.
	h.mapsByOwner = unix.Geteuid() != 0 || r.MapWriter != nil
	if r.New&unix.CLONE_NEWUSER != 0 && h.mapsByOwner {
		// A process whose binary it may not read is undumpable, and its
		// child is so too until it has changed that.
		d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		h.askForMaps = err != nil || d != 1
	}
	return h, nil
}

// isOwnUser reports whether j is the caller's own user namespace.
func isOwnUser(j Join) (bool, error) {
	var own, other unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &own); err != nil {
		return false, fmt.Errorf("stat /proc/self/ns/user: %w", err)
	}
	if err := unix.Fstat(j.FD, &other); err != nil {
		return false, &StepError{Why: "join the user namespace " + j.Path, Errno: err.(unix.Errno)}
	}
	return own.Ino == other.Ino && own.Dev == other.Dev, nil
}

// cloneWithoutClone3 is clone where there is no clone3: before Linux 5.3, or
// below a seccomp filter that does not know it.
func (c *conversation) cloneWithoutClone3(h how, mask uint64) error {
	h.clone3 = false
	if c.r.CgroupFD >= 0 {
		fd, err := unix.Openat(c.r.CgroupFD, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open cgroup.procs of the child's cgroup: %w", err)
		}
		defer unix.Close(fd)
		h.cgroupProcs = fd
	}
	return c.clone(h, mask)
}

// clone makes the child. On success c has the parent's end, the pid and, if no
// second child follows, the pidfd.
func (c *conversation) clone(h how, mask uint64) error {
	defer trace.Begin("clone the child").End()
	// Nothing else is forked while the child's end is open here: its copy
	// would keep the conversation from ending.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()

	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socketpair for the child: %w", err)
	}
	defer unix.Close(ends[1])
	h.peer, h.socket = ends[0], ends[1]
	p := compile(c.r, h)
	e := end{h.socket, mask}
	if h.stub {
		name := "gourd-nsenter"
		if c.r.StubName != "" {
			name = c.r.StubName
		}
		f, err := stubFile(name, &p.second, e)
		if err != nil {
			unix.Close(ends[0])
			return err
		}
		defer f.Close()
		p.setStub(int(f.Fd()))
	}
	img, at := newImage(p.first.size())
	p.first.link(img, at, e)
	l := newLaunch()
	l.image, l.all, l.mask = at, ^uint64(0), mask
	flags := p.flags
	if h.clone3 && !p.nested {
		flags |= unix.CLONE_PIDFD
	}
	l.use(h.clone3, flags, c.r.CgroupFD)
	pid := spawn(l)
	runtime.KeepAlive(l)
	c.image = img
	if pid < 0 {
		unix.Close(ends[0])
		return &cloneError{clone3: h.clone3, StepError: StepError{Why: p.cloneWhy(), Errno: unix.Errno(-pid)}}
	}
	c.p, c.socket, c.pid, c.pidfd = p, ends[0], pid, -1
	if flags&unix.CLONE_PIDFD != 0 {
		c.pidfd = int(l.pidfd)
	}
	return nil
}

// cloneWhy says what the first clone was for.
func (p *program) cloneWhy() string {
	s := "clone the child"
	if ns := uintptr(p.flags & allNamespaces); ns != 0 {
		s += " in " + newNames(ns)
	}
	if p.flags&unix.CLONE_INTO_CGROUP != 0 {
		s += ", in its cgroup"
	}
	return s
}

// cloneError is the error of the first clone.
type cloneError struct {
	StepError
	clone3 bool
}

// Unwrap returns the *StepError, for errors.As.
func (e *cloneError) Unwrap() error { return &e.StepError }

// clone3Missing reports whether e may be for want of clone3 or of one of its
// features. If it was not, clone fails too, and says the same.
func (e *cloneError) clone3Missing() bool {
	if !e.clone3 {
		return false
	}
	switch e.Errno {
	case unix.ENOSYS, unix.EPERM, unix.EINVAL, unix.E2BIG:
		return true
	}
	return false
}
