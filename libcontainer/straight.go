package libcontainer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
)

// straight.go: the set-up by the raw child itself, where plan.Straight has nothing
// against it. No program of the user's is executed before it is done: if a step
// fails what was made on the host is taken away again, and gourd's init begins anew,
// which has the words for what is wrong. Only when hooks of the runtime have been run
// it cannot.

// leftToInit is why the straight way ends and init's begins.
type leftToInit struct{ error }

func (l *leftToInit) Unwrap() error { return l.error }

// straightInit is an init that has been set up straight.
type straightInit struct {
	plan    plan.StraightInit
	running *nsenter.Running
	page    *notify.Page
}

// setUpStraight has the raw child do it. The error is a *leftToInit if init is to
// try it; then there is no child, and nothing of what it has made.
func (b *creation) setUpStraight() (err error) {
	defer trace.Begin("set the container up, straight").End()
	s, err := b.beginStraight()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	b.child = &s.running.Child
	if w := b.home.Warning(); w != "" {
		b.log.Warn(w)
	}
	if err := b.save(); err != nil { // while the child is at work
		return err
	}
	if b.p.Init.HookSync {
		if err := b.awaitStraight(s); err != nil {
			return b.failedStraight(s, err)
		}
		b.traces.hooked = true
		if err := createHooks(b.p, b.child.PID); err != nil {
			return err
		}
		if err := s.running.Go(); err != nil {
			return err
		}
	}
	if err := b.awaitStraight(s); err != nil {
		return b.failedStraight(s, err)
	}
	s.noteInterpreter()
	b.straight = s
	return nil
}

// awaitStraight waits until the child has come further, and takes over what it has
// made.
func (b *creation) awaitStraight(s *straightInit) error {
	wait := trace.Begin("wait for the raw child")
	err := s.running.Await()
	wait.End()
	made, merr := s.plan.Made(s.page.File())
	steps, terr := s.plan.Steps(s.page.File())
	if merr = errors.Join(merr, terr); merr != nil {
		return errors.Join(err, fmt.Errorf("read what the raw child has done: %w", merr))
	}
	addInit(b.child, steps)
	b.traces.made = made
	return err
}

// failedStraight returns the error of a straight init that has not come so far: it is left to
// init to begin anew, where that can be.
func (b *creation) failedStraight(s *straightInit, err error) error {
	var step *nsenter.StepError
	switch {
	case err == io.EOF:
		return died(b.child)
	case !errors.As(err, &step):
		return err
	case b.traces.hooked: // what hooks have done they would do again
		return s.plan.Explain(step.Why, step.Errno)
	}
	child := b.child
	b.child = nil
	if err := errors.Join(end(child), rootfs.RemoveMade(b.p.Rootfs, b.traces.made)); err != nil {
		return err
	}
	b.traces.made = nil
	return &leftToInit{err}
}

// beginStraight makes the child.
func (b *creation) beginStraight() (_ *straightInit, err error) {
	p, f := b.p, b.files
	in := &p.Init
	s := &straightInit{plan: plan.StraightInit{Init: in}}
	facts := &s.plan.Facts
	if *facts, err = lookForStraight(p); err != nil {
		return nil, &leftToInit{err}
	}
	facts.Traced = trace.On()
	if s.page, err = notify.NewPage(s.plan.Behind()); err != nil {
		return nil, &leftToInit{err}
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	facts.Page, facts.Lock, facts.Gate, facts.SignalFD, facts.Console = s.page.FD(), int(f.gate.Fd()), -1, -1, -1
	if f.console != nil {
		facts.Console = int(f.console.Fd())
	}
	if in.Waits {
		if err := f.listen(b.c.dir); err != nil {
			return nil, err
		}
		facts.Gate, facts.Owner = int(f.notify.Fd()), uint32(os.Geteuid())
		if facts.Signals, facts.SignalFD, err = watchSignals(); err != nil {
			return nil, err
		}
		if facts.SignalFD >= 0 {
			defer unix.Close(facts.SignalFD)
		}
	}
	r := nsenter.Request{
		New:      p.Enter.New,
		CgroupFD: b.home.birthplace(),
		Args:     []string{"gourd", "init"}, // for ps, while it waits
		StubName: "gourd-init",
		Finish:   s.plan.AppendSteps,
		Uses:     facts.Uses(),
		Stdio:    [3]int{-1, -1, -1},

		BeforeUnshareCgroup: whileWaiting(b.home.around(), joinGroup(b.group)),
	}
	for fd := 3; fd < 3+b.o.PreserveFDs; fd++ {
		r.Keep = append(r.Keep, fd)
	}
	for i := range p.Enter.Join {
		j := &p.Enter.Join[i]
		r.Join = append(r.Join, nsenter.Join{Flag: j.Flag, FD: f.joins[i], Path: j.Path})
	}
	s.running, err = nsenter.Begin(r)
	var scope *scopeError
	switch {
	case errors.As(err, &scope):
		return nil, err
	case err != nil:
		return nil, &leftToInit{err}
	}
	return s, nil
}

// noteInterpreter looks for the interpreter of the program while there is somebody
// who can: if it is missing the execve says no more than that something is.
func (s *straightInit) noteInterpreter() {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", s.running.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // the text of an error will be shorter
	}
	defer unix.Close(root)
	s.page.NoteInterpreter(root, s.plan.Init.Credentials.Cwd)
}

// release lets it go on, and returns when its program has been executed.
func (s *straightInit) release() error {
	defer trace.Begin("wait for the execve").End()
	defer s.close()
	if err := s.running.Go(); err != nil {
		return err
	}
	if err := s.running.Await(); err != io.EOF {
		return fmt.Errorf("the raw child did not execute the program: %w", err)
	}
	return notify.Outcome(s.page.File())
}

// leave tells it that the container is recorded, and leaves it alone: it
// waits for start.
func (s *straightInit) leave() error {
	defer s.close()
	return s.running.Go()
}

// close closes the page, and the conversation.
func (s *straightInit) close() {
	if s.running != nil {
		s.running.Leave()
	}
	s.page.Close()
}

// lookForStraight looks for what the table of a straight init is to know. The error
// is why that cannot be known from here.
func lookForStraight(p *plan.Plan) (f plan.StraightFacts, err error) {
	c := &p.Init.Credentials
	f.UID, f.GID = os.Getuid(), os.Getgid()
	for fd := range 3 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3) {
			f.Null = append(f.Null, fd)
		}
	}
	f.Own = toOwn(c.UID, false)
	for _, r := range c.Rlimits {
		var have unix.Rlimit
		if err := unix.Prlimit(0, r.Resource, nil, &have); err != nil {
			return f, fmt.Errorf("read a limit: %w", err)
		}
		f.Limits = append(f.Limits, have)
	}
	covered := p.Init.Covered()
	if c.HasHome() && len(covered) == 0 {
		return f, nil
	}
	root, err := linux.OpenNoSymlinks(unix.AT_FDCWD, p.Rootfs, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return f, fmt.Errorf("root.path: %w", err)
	}
	defer unix.Close(root)
	if f.Modes, err = modes(root, covered); err != nil {
		return f, err
	}
	f.Home, err = homeFromOutside(p, root)
	return f, err
}

// modes returns the modes of those that there are of these directories of the root
// filesystem.
func modes(root int, paths []string) (map[string]uint32, error) {
	found := make(map[string]uint32, len(paths))
	for _, path := range paths {
		fd, err := linux.OpenInRoot(root, path, unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
		if err == unix.ENOENT {
			continue
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
			unix.Close(fd)
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", path, err)
		}
		found[path] = st.Mode & 0o7777
	}
	return found, nil
}

// homeFromOutside returns what HOME is to be, "" where the environment has it. The
// passwd file is looked at on the host, and so must be on the root filesystem itself.
func homeFromOutside(p *plan.Plan, root int) (string, error) {
	c := &p.Init.Credentials
	if c.HasHome() {
		return "", nil
	}
	const passwd = "/etc/passwd"
	for i := range p.Init.Rootfs.Mounts {
		d := p.Init.Rootfs.Mounts[i].Destination
		if d == passwd || strings.HasPrefix(passwd, d+"/") {
			return "", errors.New("what is mounted there tells where HOME is")
		}
	}
	fd, err := linux.OpenInRoot(root, passwd, unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ELOOP {
		return "", errors.New("a symlink leads to who tells where HOME is")
	}
	if err == nil {
		unix.Close(fd)
	}
	home, sure := c.Home(root)
	if !sure {
		return "", errors.New("only the user can look for its home directory")
	}
	return home, nil
}

// watchSignals opens a signalfd of the signals that end an init which waits for
// start. It tells whoever reads from it of that one's own signals.
func watchSignals() (set uint64, fd int, err error) {
	var mask unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &mask); err != nil {
		return 0, -1, fmt.Errorf("read the signal mask: %w", err)
	}
	for _, sig := range plan.EndingSignals { // also those that this process ignores: nsenter has them reset
		set |= 1 << (sig - 1)
	}
	if set &^= uint64(mask.Val[0]); set == 0 {
		return 0, -1, nil
	}
	if fd, err = unix.Signalfd(-1, &unix.Sigset_t{Val: [16]uint64{set}}, unix.SFD_CLOEXEC); err != nil {
		return 0, -1, fmt.Errorf("make a signalfd: %w", err)
	}
	return set, fd, nil
}
