package initproc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// OwnStdio gives stdin, stdout and stderr to the process's user, so that it
// can open /dev/stdout again: as root it was given pipes of root's. Gives says
// which of them. A file system that knows no owners, or a foreign user namespace,
// keeps its owner.
func OwnStdio(uid int, terminal bool) error {
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			if err == unix.EBADF {
				continue // the caller closed it
			}
			return fmt.Errorf("own fd %d: %w", fd, err)
		}
		if int(st.Uid) == uid || !Gives(fd, &st, terminal) {
			continue
		}
		switch err := unix.Fchown(fd, uid, int(st.Gid)); err {
		case nil, unix.EINVAL, unix.EPERM, unix.EROFS, unix.ENOSYS:
		default:
			return fmt.Errorf("own fd %d: give it to uid %d: %w", fd, uid, err)
		}
	}
	return nil
}

// Gives returns whether the standard stream fd, of which st is known, becomes the
// user's: a pipe, a socket, and of devices the terminal that was made for this
// container, while any other one, /dev/null or the caller's terminal, is the host's.
// Of files it is the log that is written to; what the container only reads it can
// read through the stream, and may be anything, /etc/shadow too.
func Gives(fd int, st *unix.Stat_t, terminal bool) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return true
	case unix.S_IFCHR:
		return terminal
	case unix.S_IFREG:
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
	}
	return false
}
