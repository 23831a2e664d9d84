package libcontainer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/nsenter"
)

// tell gives the new container's init to those who asked for it: its pid to
// --pid-file, a pidfd to --pidfd-socket.
func tell(pidFile, pidfdSocket string, child *nsenter.Child) error {
	a, err := announce(pidFile, pidfdSocket)
	if err != nil {
		return err
	}
	defer a.close()
	return a.tell(child)
}

// announcement is what waits to be told of a process. All that is likely to fail
// has been done: an exec can make it before its process is there, and tell of
// none that was never executed.
type announcement struct {
	pidFile, pidfdSocket string
	file, socket         *os.File // nil: nobody asked
}

func announce(pidFile, pidfdSocket string) (_ *announcement, err error) {
	a := &announcement{pidFile: pidFile, pidfdSocket: pidfdSocket}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if pidfdSocket != "" {
		if a.socket, err = linux.DialUnix(pidfdSocket); err != nil {
			return nil, a.aboutSocket(err)
		}
	}
	if pidFile != "" {
		// Under a name that is nobody else's, not even a symlink's.
		if a.file, err = os.CreateTemp(filepath.Dir(pidFile), "."+filepath.Base(pidFile)+".*"); err != nil {
			return nil, a.aboutFile(err)
		}
	}
	return a, nil
}

// tell tells of child. The pid is put there whole: who watches the file never
// reads a part of it.
func (a *announcement) tell(child *nsenter.Child) error {
	if a.socket != nil {
		if err := unix.Sendmsg(int(a.socket.Fd()), []byte("pidfd"), unix.UnixRights(int(child.PIDFD.Fd())), nil, unix.MSG_NOSIGNAL); err != nil {
			return a.aboutSocket(err)
		}
	}
	if a.file == nil {
		return nil
	}
	_, err := a.file.WriteString(strconv.Itoa(child.PID))
	if err == nil {
		err = a.file.Chmod(0o644)
	}
	if err == nil {
		err = os.Rename(a.file.Name(), a.pidFile)
	}
	if err != nil {
		return a.aboutFile(err)
	}
	a.file.Close()
	a.file = nil
	return nil
}

// close takes back what has not been told.
func (a *announcement) close() {
	if a.socket != nil {
		a.socket.Close()
	}
	if a.file != nil {
		os.Remove(a.file.Name())
		a.file.Close()
	}
}

func (a *announcement) aboutSocket(err error) error {
	return fmt.Errorf("--pidfd-socket %s: %w", a.pidfdSocket, err)
}

// aboutFile leaves out the path that is not the one that was given.
func (a *announcement) aboutFile(err error) error {
	var p *os.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	if errors.Is(err, unix.ENOENT) {
		err = linux.Worded(unix.ENOENT, "its directory does not exist")
	}
	return fmt.Errorf("--pid-file %s: %w", a.pidFile, err)
}
