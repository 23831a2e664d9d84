package initproc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
)

// console makes the process's terminal: a pseudo-terminal of the container's
// own devpts, whose master goes to the engine over socket and whose slave
// becomes the controlling terminal, stdin, stdout and stderr.
func console(root *rootfs.Root, p *plan.Init, socket int) error {
	master, slave, err := root.Console(p.ConsoleWidth, p.ConsoleHeight)
	if err != nil {
		return err
	}
	return connectConsole(master, slave, socket)
}

// connectConsole sends the master to the engine and makes the slave the
// terminal of this session. It closes all three.
func connectConsole(master, slave *os.File, socket int) error {
	defer master.Close()
	defer slave.Close()
	// The message's text is the terminal's name, as other runtimes send it;
	// receivers look at the fd alone.
	rights := unix.UnixRights(int(master.Fd()))
	if err := unix.Sendmsg(socket, []byte("/dev/ptmx"), rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("console socket: send the terminal: %w", err)
	}
	unix.Close(socket)
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("make the terminal the controlling one: %w", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(int(slave.Fd()), fd, 0); err != nil {
			return fmt.Errorf("make the terminal fd %d: %w", fd, err)
		}
	}
	return nil
}
