package libcontainer

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/seccomp"
)

// files are the fds that go to init and those that its start needs. They are
// opened before anything is made, so that a wrong path costs nothing.
type files struct {
	conn    *protocol.Conn // the runtime's end of the conversation
	init    *os.File       // init's end; nil once it has it
	notify  *os.File       // the listening socket of the gate
	gate    *os.File       // holds the gate's lock until the execve
	console *os.File       // where the terminal goes; nil: no terminal
	agent   *os.File       // the seccomp agent's socket; nil: none
	joins   []int          // one fd for each of plan.Enter.Join
	mountNS int            // the joined mount namespace among them; -1: none
}

// openFiles opens them all; what it returns must be closed, also after an
// error.
func openFiles(o *CreateOptions, p *plan.Plan, dir *state.Dir, take func() (*os.File, error)) (*files, error) {
	defer trace.Begin("open the files").End()
	f := &files{mountNS: -1}
	for i := range p.Enter.Join {
		j := &p.Enter.Join[i]
		fd, err := openNamespace(j)
		if err != nil {
			return f, err
		}
		f.joins = append(f.joins, fd)
		if j.Flag == unix.CLONE_NEWNS {
			f.mountNS = fd
		}
	}
	var err error
	switch {
	case o.ConsoleSocket != "":
		if f.console, err = linux.DialUnix(o.ConsoleSocket); err != nil {
			return f, fmt.Errorf("--console-socket %s: %w", o.ConsoleSocket, err)
		}
	case p.Terminal:
		if f.console, err = take(); err != nil {
			return f, err
		}
	}
	if p.Enter.ListenerPath != "" {
		if f.agent, err = seccomp.DialListener(p.Enter.ListenerPath); err != nil {
			return f, fmt.Errorf("linux.seccomp.listenerPath: %w", err)
		}
	}
	f.gate, err = dir.MakeGate(note(p))
	return f, err
}

// openConversation opens what gourd's init needs besides.
func (f *files) openConversation(dir *state.Dir) (err error) {
	if err := f.listen(dir); err != nil {
		return err
	}
	f.conn, f.init, err = protocol.Pair()
	return err
}

// listen opens the gate, if that is still to be done.
func (f *files) listen(dir *state.Dir) (err error) {
	if f.notify == nil {
		f.notify, err = notify.Listen(dir.Path())
	}
	return err
}

// forInit returns the fds that go with the plan, in the order in which init
// takes them.
func (f *files) forInit() []int {
	fds := []int{int(f.notify.Fd()), int(f.gate.Fd())}
	if f.console != nil {
		fds = append(fds, int(f.console.Fd()))
	}
	if f.mountNS >= 0 {
		fds = append(fds, f.mountNS)
	}
	if f.agent != nil {
		fds = append(fds, int(f.agent.Fd()))
	}
	return fds
}

// closeInit closes init's end of the conversation here: from now on init's
// death reads as an end of file.
func (f *files) closeInit() {
	f.init.Close()
	f.init = nil
}

func (f *files) close() {
	for _, file := range []*os.File{f.init, f.notify, f.gate, f.console, f.agent} {
		if file != nil {
			file.Close()
		}
	}
	for _, fd := range f.joins {
		unix.Close(fd)
	}
	if f.conn != nil {
		f.conn.Close()
	}
}

// openNamespace opens the file of a namespace and checks its type.
func openNamespace(j *plan.Join) (int, error) {
	fd, err := unix.Open(j.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: open %s: %w", j.From, j.Path, err)
	}
	flag, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err == nil && uintptr(flag) == j.Flag {
		return fd, nil
	}
	unix.Close(fd)
	if err != nil {
		return -1, fmt.Errorf("%s: %s is not a namespace", j.From, j.Path)
	}
	return -1, fmt.Errorf("%s: %s is a namespace of another type", j.From, j.Path)
}
