package initproc

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
)

// successor is the stub that is to wait at the gate in the place of this
// process, ready to be executed.
type successor struct {
	stub        *os.File
	argv        []*byte
	files       plan.GateFiles
	signals     uint64
	mask        uint64
	preserve    int
	credentials *credentials.Plan
}

// newSuccessor does all that can fail. It comes before the limits are lowered:
// one may forbid a file of the stub's size.
func newSuccessor(p *plan.Init, exe credentials.Exec, gate *notify.Gate, files plan.GateFiles) (_ *successor, err error) {
	defer trace.Begin("prepare the bare gate").End()
	s := &successor{files: files, mask: gate.Mask(), preserve: p.PreserveFDs, credentials: &p.Credentials}
	if s.argv, err = syscall.SlicePtrFromStrings(os.Args); err != nil { // for ps it stays what it was
		return nil, err
	}
	if err := s.watchSignals(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	t := nsenter.Tail{Table: new(nsenter.Table)}
	g := plan.Gate{Credentials: &p.Credentials, Exec: exe, Seccomp: p.Seccomp, Owner: gate.Owner(), Signals: s.signals, Files: s.files}
	if p.TellAtGate {
		g.Hello = protocol.Bare(protocol.KindAtGate)
	}
	g.AppendSteps(&t)
	if s.stub, err = nsenter.StubFile("gourd-gate", t.Table, s.mask); err != nil {
		return nil, err
	}
	return s, nil
}

// watchSignals opens the signalfd. A signal of which nothing is said (signal(7))
// ends a process, but not one that is pid 1 of its namespace. Go has a handler
// for each and ends by these, unless they were ignored or blocked by whoever has
// started gourd; so does the stub, which can have none.
func (s *successor) watchSignals() error {
	s.files.Signals = -1
	if os.Getpid() != 1 {
		return nil
	}
	for _, sig := range plan.EndingSignals {
		ignored, err := linux.SignalIgnored(sig)
		if err != nil {
			return fmt.Errorf("look at the action of signal %d: %w", sig, err)
		}
		if !ignored {
			s.signals |= 1 << (sig - 1)
		}
	}
	if s.signals &^= s.mask; s.signals == 0 {
		return nil
	}
	fd, err := unix.Signalfd(-1, &unix.Sigset_t{Val: [16]uint64{s.signals}}, unix.SFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a signalfd: %w", err)
	}
	s.files.Signals = fd
	return nil
}

// takeOver executes the stub. It returns if it could not, with everything as it
// was before; an error says that it is not.
func (s *successor) takeOver() error {
	defer s.close()
	inherited := s.files.Inherited()
	for fd := 3; fd < 3+s.preserve; fd++ {
		inherited = append(inherited, fd)
	}
	s.execute(inherited)
	for _, fd := range inherited {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return fmt.Errorf("mark fd %d close-on-exec: %w", fd, err)
		}
	}
	if err := linux.SetSignalMask(s.mask); err != nil {
		return fmt.Errorf("restore the signal mask: %w", err)
	}
	return nil
}

// execute returns only if it has failed. What the reason is nobody needs to know,
// for the gate is kept all the same.
//
// One thing cannot be helped: a signal that another of Go's threads has taken in
// the instant in which the execve ends it is lost.
func (s *successor) execute(inherited []int) {
	for _, fd := range inherited {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return
		}
	}
	// From here on the signals stay pending for the stub.
	if err := linux.BlockSignals(s.signals); err != nil {
		return
	}
	if err := s.credentials.Carry(); err != nil {
		return
	}
	_ = linux.ExecFD(int(s.stub.Fd()), s.argv)
}

// close gives back what only the stub would have needed.
func (s *successor) close() {
	if s.stub != nil {
		s.stub.Close()
	}
	if s.files.Signals >= 0 {
		unix.Close(s.files.Signals)
	}
}
