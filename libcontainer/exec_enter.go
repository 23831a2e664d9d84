package libcontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/cgroups/systemd"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

// execFiles are the fds that an exec needs and those that go to its init.
type execFiles struct {
	conn    *protocol.Conn // the runtime's end of the conversation
	init    *os.File       // init's end; nil once it has it
	pidfd   *os.File       // of the container's init
	mountNS *os.File       // the mount namespace of the container's init
	root    *os.File       // its root, if that is not the namespace's; else nil
	console *os.File       // where the terminal goes; nil: no terminal
	agent   *os.File       // the seccomp agent's socket; nil: none
}

// openExecFiles opens those that every exec needs; what it returns must be
// closed, also after an error.
func (c *Container) openExecFiles(o *ExecOptions, p *plan.ExecPlan, tty *relay) (*execFiles, error) {
	f := new(execFiles)
	switch {
	case tty != nil:
		f.console, tty.inits = tty.inits, nil
	case p.Exec.Terminal:
		var err error
		if f.console, err = linux.DialUnix(o.ConsoleSocket); err != nil {
			return f, fmt.Errorf("--console-socket %s: %w", o.ConsoleSocket, err)
		}
	}
	if s := p.Exec.Seccomp; s != nil && s.Notify {
		var err error
		if f.agent, err = seccomp.DialListener(s.ListenerPath); err != nil {
			return f, fmt.Errorf("linux.seccomp.listenerPath: %w", err)
		}
	}
	fd, err := c.initPidfd()
	if err == unix.ESRCH {
		err = ErrNotRunning
	}
	if err != nil {
		return f, fmt.Errorf("container %q: find its init (pid %d): %w", c.rec.ID, c.rec.InitPID, err)
	}
	f.pidfd = os.NewFile(uintptr(fd), "the container's init")
	// By its file: for setns with a pidfd, init in the container's user
	// namespace may not have the right to look at a process (ptrace(2)) that
	// waits at the gate.
	err = c.procOfInit(f.pidfd, func(proc string) (err error) {
		if f.mountNS, err = os.Open(proc + "/ns/mnt"); err != nil || !p.Exec.Chroot {
			return err
		}
		f.root, err = os.OpenFile(proc+"/root", unix.O_PATH|unix.O_DIRECTORY, 0)
		return err
	})
	if err != nil {
		return f, fmt.Errorf("container %q: open its mount namespace: %w", c.rec.ID, err)
	}
	return f, nil
}

// openConversation opens those by which the runtime and init speak.
func (f *execFiles) openConversation() (err error) {
	f.conn, f.init, err = protocol.Pair()
	return err
}

// procOfInit calls look with init's directory in /proc, and makes sure that
// it was init's all the time.
func (c *Container) procOfInit(pidfd *os.File, look func(proc string) error) error {
	err := look("/proc/" + strconv.Itoa(c.rec.InitPID))
	// An init that can be signalled now has not been reaped meanwhile.
	if gone := unix.PidfdSendSignal(int(pidfd.Fd()), 0, nil, 0); gone == unix.ESRCH {
		return ErrNotRunning
	}
	return err
}

// forInit returns the fds that go with the plan, in the order in which init
// takes them.
func (f *execFiles) forInit() []int {
	fds := []int{int(f.mountNS.Fd())}
	if f.root != nil {
		fds = append(fds, int(f.root.Fd()))
	}
	if f.console != nil {
		fds = append(fds, int(f.console.Fd()))
	}
	if f.agent != nil {
		fds = append(fds, int(f.agent.Fd()))
	}
	return fds
}

// closeAgent closes the agent's socket here, once init has it: init closes its
// own when it has sent the listener, and the agent may wait for that.
func (f *execFiles) closeAgent() {
	if f.agent != nil {
		f.agent.Close()
		f.agent = nil
	}
}

func (f *execFiles) close() {
	for _, file := range []*os.File{f.init, f.pidfd, f.mountNS, f.root, f.console, f.agent} {
		if file != nil {
			file.Close()
		}
	}
	if f.conn != nil {
		f.conn.Close()
	}
}

// enterExec starts init in the container's namespaces, all but the mount
// namespace, and in its cgroup.
func (c *Container) enterExec(o *ExecOptions, p *plan.ExecPlan, f *execFiles) (*nsenter.Child, error) {
	defer trace.Begin("start init in the container's namespaces").End()
	exe, err := nsenter.Self(p.Namespaces&(unix.CLONE_NEWUSER|unix.CLONE_NEWPID) != 0)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	child, err := c.join(o, p, f, nsenter.Request{
		Exe:  exe,
		Args: initArgs("gourd", "init", strconv.Itoa(int(f.init.Fd())), initproc.ExecArg),
		Env:  initproc.Environ,
		Keep: []int{int(f.init.Fd())},
	})
	if err != nil {
		return nil, err
	}
	f.init.Close() // from now on init's death reads as an end of file
	f.init = nil
	return child, nil
}

// join makes the request for the container's namespaces, all but the mount
// namespace, and its cgroup.
func (c *Container) join(o *ExecOptions, p *plan.ExecPlan, f *execFiles, r nsenter.Request) (*nsenter.Child, error) {
	cgroup, err := c.execCgroup(o.Cgroup, f.pidfd)
	if err != nil {
		return nil, err
	}
	defer func() { cgroup.close() }()
	r.Stdio = [3]int{-1, -1, -1}
	for fd := 3; fd < 3+o.PreserveFDs; fd++ {
		r.Keep = append(r.Keep, fd)
	}
	flags, err := c.toJoin(p.Namespaces, f.pidfd)
	if err != nil {
		return nil, err
	}
	if flags != 0 {
		r.Join = []nsenter.Join{{Flag: flags, FD: int(f.pidfd.Fd()), Path: "of the container's init"}}
	}
	child, err := c.birth(p.InitialCPUs, r, cgroup)
	if errors.Is(err, unix.EBUSY) && cgroup.file != nil {
		if o.Cgroup != nil {
			// The words are known from runc.
			return nil, fmt.Errorf("--cgroup %s: error adding pid of the process to cgroups %s: %w", *o.Cgroup, cgroup.file.Name(), err)
		}
		// It has become a parent that gives controllers to its children, and
		// so may have no process (cgroup-v2.rst, "No Internal Process
		// Constraint"): init has moved itself below.
		cgroup.close()
		if cgroup, err = c.initCgroup(f.pidfd); err != nil {
			return nil, err
		}
		child, err = c.birth(p.InitialCPUs, r, cgroup)
	}
	return child, err
}

// birth starts the child in the cgroup. An ordinary user may not let one be born
// there from a login session, whose cgroup has only root's in common with those
// of the user's systemd: that systemd has the waiting child moved then.
func (c *Container) birth(cpus *unix.CPUSet, r nsenter.Request, cgroup cgroupDir) (*nsenter.Child, error) {
	r.CgroupFD = cgroup.fd()
	r.BeforeUnshareCgroup = whileWaiting(joinGroup(c.kept.Resctrl))
	child, err := startOn(cpus, r)
	if !errors.Is(err, unix.EACCES) || cgroup.file == nil || !c.kept.Cgroup.User {
		return child, err
	}
	ctx := context.Background()
	manager, err := systemd.Connect(ctx, true)
	if err != nil {
		return nil, err
	}
	defer manager.Close()
	r.CgroupFD = -1
	attach := func(pid int) error {
		return manager.Attach(ctx, &c.kept.Cgroup, cgroup.file.Name(), pid)
	}
	r.BeforeUnshareCgroup = whileWaiting(attach, joinGroup(c.kept.Resctrl))
	return startOn(cpus, r)
}

// toJoin returns which of the namespaces are to be joined: not the user
// namespace if it is gourd's own, for setns refuses that (setns(2), EINVAL).
func (c *Container) toJoin(flags uintptr, pidfd *os.File) (uintptr, error) {
	if flags&unix.CLONE_NEWUSER == 0 {
		return flags, nil
	}
	var own, its unix.Stat_t
	err := unix.Stat("/proc/self/ns/user", &own)
	if err == nil {
		err = c.procOfInit(pidfd, func(proc string) error { return unix.Stat(proc+"/ns/user", &its) })
	}
	if err != nil {
		return 0, fmt.Errorf("container %q: look at its user namespace: %w", c.rec.ID, err)
	}
	if own.Ino == its.Ino && own.Dev == its.Dev {
		flags &^= unix.CLONE_NEWUSER
	}
	return flags, nil
}

// startOn starts the child on these CPUs, nil for gourd's: it inherits the
// affinity of the thread that clones it, and has it before it is in its cgroup
// (process.execCPUAffinity.initial).
func startOn(cpus *unix.CPUSet, r nsenter.Request) (*nsenter.Child, error) {
	if cpus == nil {
		return nsenter.Start(r)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("read the CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return nil, fmt.Errorf("process.execCPUAffinity.initial: set the CPUs to run on: %w", err)
	}
	child, err := nsenter.Start(r)
	if back := unix.SchedSetaffinity(0, &before); back != nil && err == nil {
		err = errors.Join(fmt.Errorf("restore the CPU affinity: %w", back), end(child))
	}
	return child, err
}

// cgroupDir is the open directory of a cgroup, or none.
type cgroupDir struct{ file *os.File }

func (d cgroupDir) fd() int {
	if d.file == nil {
		return -1
	}
	return int(d.file.Fd())
}

func (d cgroupDir) close() {
	if d.file != nil {
		d.file.Close()
	}
}

// execCgroup opens the cgroup that the process is to be born in.
func (c *Container) execCgroup(sub *string, pidfd *os.File) (cgroupDir, error) {
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return cgroupDir{}, err
	}
	defer cg.Close()
	if sub != nil {
		rel, err := subCgroup(*sub)
		if err != nil {
			return cgroupDir{}, err
		}
		file, err := cg.Sub(rel)
		if err != nil {
			return cgroupDir{}, fmt.Errorf("--cgroup %s: cannot join the cgroup: %w", *sub, err)
		}
		return cgroupDir{file}, nil
	}
	switch {
	case c.kept.Cgroup.Path == "": // --cgroup-manager disabled
		return cgroupDir{}, nil
	case cg.FD() < 0: // removed: init has moved itself away
		return c.initCgroup(pidfd)
	}
	file, err := cg.Sub("")
	return cgroupDir{file}, err
}

// subCgroup checks the argument of --cgroup and returns the path in it.
func subCgroup(arg string) (string, error) {
	if controllers, _, ok := strings.Cut(arg, ":"); ok {
		return "", fmt.Errorf("--cgroup %s: cgroup v2 has one tree for all controllers: leave out %q", arg, controllers+":")
	}
	if rel := path.Clean(arg); rel == ".." || strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("--cgroup: bad sub cgroup path %q: it leads out of the container's", arg)
	}
	return arg, nil
}

// initCgroup opens the cgroup that the container's init is in by now.
func (c *Container) initCgroup(pidfd *os.File) (d cgroupDir, err error) {
	err = c.procOfInit(pidfd, func(string) error {
		d.file, err = cgroups.Beside(c.kept.Cgroup, c.rec.InitPID)
		return err
	})
	if err != nil {
		d.close()
		return cgroupDir{}, fmt.Errorf("container %q: find the cgroup of its init: %w", c.rec.ID, err)
	}
	return d, nil
}
