package libcontainer

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// relay connects the terminal that gourd runs in with the container's: the
// part of a `run -t` in the foreground. A nil relay does nothing.
type relay struct {
	ours, inits *os.File    // the socket over which the container's terminal comes
	host        *os.File    // the terminal that gourd runs in; nil: none
	before      *term.State // its settings before raw mode
	master      *os.File    // the container's terminal
	output      chan struct{}
}

// openRelay prepares a relay before the container is made.
func openRelay() (*relay, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the socket for the terminal: %w", err)
	}
	r := &relay{ours: os.NewFile(uintptr(p[0]), "terminal"), inits: os.NewFile(uintptr(p[1]), "terminal")}
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if term.IsTerminal(int(f.Fd())) {
			r.host = f
			break
		}
	}
	return r, nil
}

// start receives the container's terminal, gives it the size of ours, puts
// ours into raw mode and begins to copy.
func (r *relay) start() error {
	if r == nil {
		return nil
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, oobn, _, _, err := unix.Recvmsg(int(r.ours.Fd()), make([]byte, 64), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return fmt.Errorf("receive the container's terminal: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("receive the container's terminal: no fd came (%w)", err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return fmt.Errorf("receive the container's terminal: %w", err)
	}
	r.master = os.NewFile(uintptr(fds[0]), "/dev/ptmx")
	// A new line is made into carriage return and new line once: by our
	// terminal, or not at all where there is none.
	if err := setFlag(r.master, func(t *unix.Termios) { t.Oflag &^= unix.ONLCR }); err != nil {
		return fmt.Errorf("set up the container's terminal: %w", err)
	}
	if r.host != nil {
		r.resize()
		if r.before, err = term.MakeRaw(int(r.host.Fd())); err != nil {
			return fmt.Errorf("put the terminal into raw mode: %w", err)
		}
		if err := setFlag(r.host, func(t *unix.Termios) { t.Oflag |= unix.OPOST }); err != nil {
			return fmt.Errorf("put the terminal into raw mode: %w", err)
		}
	}
	r.output = make(chan struct{})
	go func() {
		defer close(r.output)
		io.Copy(os.Stdout, r.master) // ends with EIO when the last slave is closed
	}()
	go r.input() // ends with the process: a read of stdin cannot be cut short
	return nil
}

// input copies stdin to the container's terminal, and its end: a reader there
// sees it as if it had been typed.
func (r *relay) input() {
	if _, err := io.Copy(r.master, os.Stdin); err != nil {
		return // the container has ended
	}
	t, err := unix.IoctlGetTermios(int(r.master.Fd()), unix.TCGETS)
	if err == nil && t.Lflag&unix.ICANON != 0 {
		_, _ = r.master.Write(t.Cc[unix.VEOF : unix.VEOF+1]) // likewise
	}
}

// setFlag changes the settings of a terminal.
func setFlag(tty *os.File, change func(*unix.Termios)) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	change(t)
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, t)
}

// resize gives the container's terminal the size of ours.
func (r *relay) resize() {
	if r == nil || r.host == nil || r.master == nil {
		return
	}
	if ws, err := unix.IoctlGetWinsize(int(r.host.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(r.master.Fd()), unix.TIOCSWINSZ, ws) // only a size
	}
}

// drain waits until all that the container wrote is copied. That is when the
// last process that has its terminal open is gone.
func (r *relay) drain() {
	if r != nil && r.output != nil {
		<-r.output
	}
}

// close gives our terminal its settings back.
func (r *relay) close() {
	if r == nil {
		return
	}
	if r.before != nil {
		_ = term.Restore(int(r.host.Fd()), r.before) // it may be gone: nothing to restore then
	}
	for _, f := range []*os.File{r.ours, r.inits, r.master} {
		if f != nil {
			f.Close()
		}
	}
}
