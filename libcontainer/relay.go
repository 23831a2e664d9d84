package libcontainer

import (
	"errors"
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
	typed       bool        // host is standard input: people type there
	before      *term.State // its settings before raw mode; nil: it never was raw
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
			r.host, r.typed = f, f == os.Stdin
			break
		}
	}
	return r, nil
}

// start receives the container's terminal, gives it the size of ours, puts
// ours into raw mode and begins to copy what the container shows.
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
	if err := unix.SetNonblock(fds[0], true); err != nil { // then hangUp ends a read that waits
		return fmt.Errorf("set up the container's terminal: %w", err)
	}
	r.master = os.NewFile(uintptr(fds[0]), "/dev/ptmx")
	// A new line is made into carriage return and new line once: by our
	// terminal, or not at all where there is none.
	if err := setFlag(r.master, func(t *unix.Termios) { t.Oflag &^= unix.ONLCR }); err != nil {
		return fmt.Errorf("set up the container's terminal: %w", err)
	}
	r.resize()
	if err := r.raw(); err != nil {
		return err
	}
	r.output = make(chan struct{})
	go func() {
		defer close(r.output)
		if _, err := io.Copy(os.Stdout, r.master); err != nil && !errors.Is(err, unix.EIO) {
			r.hangUp() // nobody sees it any more; EIO says that the last slave was closed
		}
	}()
	return nil
}

// raw makes what is typed at our terminal reach the container as it is, Ctrl-C
// and Ctrl-Z too. Where nobody types, as after a pipe, the terminal goes on to
// serve us: there Ctrl-C is a signal. In the background it is somebody else's;
// resume tries again.
func (r *relay) raw() error {
	if !r.typed || !r.foreground() {
		return nil
	}
	before, err := term.GetState(int(r.host.Fd()))
	if err == nil {
		err = setFlag(r.host, rawInput)
	}
	if err != nil {
		return fmt.Errorf("put the terminal into raw mode: %w", err)
	}
	if r.before == nil {
		r.before = before
	}
	return nil
}

// rawInput is cfmakeraw(3), but for OPOST: what the container shows meanwhile is
// to have its carriage returns.
func rawInput(t *unix.Termios) {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag |= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
}

// foreground is whether the terminal takes settings from us: we are in its
// foreground, or it is not the one that controls us.
func (r *relay) foreground() bool {
	pgrp, err := unix.IoctlGetInt(int(r.host.Fd()), unix.TIOCGPGRP)
	return err != nil || pgrp == unix.Getpgrp()
}

// resume is for when gourd was stopped and goes on: the shell has taken the
// terminal back in between.
func (r *relay) resume() {
	if r == nil || r.host == nil || r.master == nil {
		return
	}
	_ = r.raw() // it is only less comfortable without
	r.resize()
}

// listen begins to copy what is typed. It is called when the container runs and
// nobody waits for a lock: in the background, reading the terminal stops gourd.
func (r *relay) listen() {
	if r != nil {
		go r.input() // ends with the process: a read of stdin cannot be cut short
	}
}

// input copies stdin to the container's terminal, and its end: a reader there
// sees it as if it had been typed. But nobody types the end of a raw terminal:
// there it is the terminal itself that is gone.
func (r *relay) input() {
	_, err := io.Copy(r.master, os.Stdin)
	if r.typed {
		r.hangUp()
		return
	}
	if err != nil {
		return // the container has ended
	}
	var t *unix.Termios
	err = control(r.master, func(fd int) (err error) {
		t, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	if err == nil && t.Lflag&unix.ICANON != 0 {
		_, _ = r.master.Write(t.Cc[unix.VEOF : unix.VEOF+1]) // likewise
	}
}

// hangUp takes the container's terminal away, as ours has been: its processes
// get SIGHUP, and read an end.
func (r *relay) hangUp() { r.master.Close() }

// setFlag changes the settings of a terminal.
func setFlag(tty *os.File, change func(*unix.Termios)) error {
	return control(tty, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		change(t)
		return unix.IoctlSetTermios(fd, unix.TCSETS, t)
	})
}

// control calls do with the fd of f, unless f is closed, and leaves it
// non-blocking.
func control(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := c.Control(func(fd uintptr) { err = do(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// resize gives the container's terminal the size of ours. One that has none (that of a
// script(1) in a pipe) takes away no process.consoleSize.
func (r *relay) resize() {
	if r == nil || r.host == nil || r.master == nil {
		return
	}
	if ws, err := unix.IoctlGetWinsize(int(r.host.Fd()), unix.TIOCGWINSZ); err == nil && (ws.Row != 0 || ws.Col != 0) {
		_ = control(r.master, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, ws) }) // only a size
	}
}

// drain waits until all that the container wrote is copied. That is when the
// last process that has its terminal open is gone.
func (r *relay) drain() {
	if r != nil && r.output != nil {
		<-r.output
	}
}

// close gives our terminal its settings back, unless it is in other hands.
func (r *relay) close() {
	if r == nil {
		return
	}
	if r.before != nil && r.foreground() {
		_ = term.Restore(int(r.host.Fd()), r.before) // it may be gone: nothing to restore then
	}
	for _, f := range []*os.File{r.ours, r.inits, r.master} {
		if f != nil {
			f.Close()
		}
	}
}
