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

// tell gives the new container's init, or the process of an exec, to those who
// asked for it: its pid to --pid-file, a pidfd to --pidfd-socket.
func tell(pidFile, pidfdSocket string, child *nsenter.Child) error {
	if pidfdSocket != "" {
		if err := sendPidfd(pidfdSocket, child.PIDFD); err != nil {
			return fmt.Errorf("--pidfd-socket %s: %w", pidfdSocket, err)
		}
	}
	if pidFile != "" {
		if err := writePidFile(pidFile, child.PID); err != nil {
			return fmt.Errorf("--pid-file %s: %w", pidFile, err)
		}
	}
	return nil
}

func sendPidfd(path string, pidfd *os.File) error {
	s, err := connect(path)
	if err != nil {
		return err
	}
	defer s.Close()
	return unix.Sendmsg(int(s.Fd()), []byte("pidfd"), unix.UnixRights(int(pidfd.Fd())), nil, unix.MSG_NOSIGNAL)
}

// writePidFile puts the pid there whole: who watches the file never reads a
// part of it.
func writePidFile(path string, pid int) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err // its path is not the one that was given
		}
		if errors.Is(err, unix.ENOENT) {
			err = linux.Worded(unix.ENOENT, "its directory does not exist")
		}
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}
