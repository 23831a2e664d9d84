package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// Open file description locks (fcntl(2), Linux 3.15): a lock belongs to the
// open file description, so that it goes with the fd to another process, and
// ends when the last fd of the description is closed. All three functions
// speak of the whole file.

// LockOFD takes the write lock of f, or fails with EAGAIN if it is taken.
func LockOFD(f *os.File) error {
	return ofd(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// OFDHeld tells whether another open file description than f's holds the
// write lock. It takes no lock itself.
func OFDHeld(f *os.File) (bool, error) {
	l := unix.Flock_t{Type: unix.F_RDLCK}
	if err := ofd(f, unix.F_OFD_GETLK, &l); err != nil {
		return false, err
	}
	return l.Type == unix.F_WRLCK, nil
}

// AwaitOFD waits until no other open file description holds the write lock.
// It holds a read lock for a moment, which OFDHeld does not see.
func AwaitOFD(f *os.File) error {
	if err := ofd(f, unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_RDLCK}); err != nil {
		return err
	}
	return ofd(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
}

func ofd(f *os.File, cmd int, l *unix.Flock_t) error {
	for {
		err := unix.FcntlFlock(f.Fd(), cmd, l)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
