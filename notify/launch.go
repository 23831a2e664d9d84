package notify

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Launch is the last stretch of an `exec`, which has no gate: nobody starts
// its program but who has asked for it, and that one has the page by other
// means than a socket in the state directory.
type Launch struct{ launch *launch }

// PrepareLaunch does all that can fail, as Prepare does for a gate.
func PrepareLaunch(p *Page, e *Exec) (*Launch, error) {
	l, err := checkedLaunch(p, e)
	if err != nil {
		return nil, err
	}
	return &Launch{l}, nil
}

// Exec is Gate.Exec. Whoever looks at the page's Outcome first waits for the
// end of something that only this process holds open, close-on-exec.
//
//go:nosplit
func (l *Launch) Exec() { l.launch.run() }

// FD returns the page's file, to be sent to who is to look at its Outcome.
func (p *Page) FD() int { return p.fd }

// Outcome tells how a launch went whose process has executed its program or
// has ended: nil if the program was executed, what failed as an *Error, or
// ErrDied.
func Outcome(page *os.File) error {
	begun, failure, err := readPage(page)
	switch {
	case err != nil:
		return err
	case failure != nil:
		return failure
	case begun:
		return nil
	}
	return ErrDied
}

// checkedLaunch checks a program and prepares its launch, for Prepare and
// PrepareLaunch.
func checkedLaunch(p *Page, e *Exec) (*launch, error) {
	if e.Filter != nil && (len(e.Filter.Prog) == 0 || len(e.Filter.Prog) > unix.BPF_MAXINSNS) {
		return nil, fmt.Errorf("seccomp filter: %d instructions, the kernel takes 1 to %d", len(e.Filter.Prog), unix.BPF_MAXINSNS)
	}
	if f := e.Filter; f != nil && (f.Agent != nil) != (f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0) {
		return nil, errors.New("seccomp filter: it goes with an agent that takes its listener, or without both")
	}
	for fd := 3; fd < 3+e.Preserve; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return nil, fmt.Errorf("preserve fd %d: %w", fd, err)
		}
	}
	l, err := newLaunch(p, e)
	if err != nil {
		return nil, err
	}
	p.text(offPath, offInterp, e.Path)
	p.text(offInterp, offText, missingInterpreter(e.Path))
	return l, nil
}
