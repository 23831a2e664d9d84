package initproc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// OwnStdio gives stdin, stdout and stderr to the process's user, so that it
// can open /dev/stdout again: as root it was given pipes of root's. A device
// is only changed when it is the terminal that was made for this container:
// any other one, /dev/null or the caller's terminal, is the host's. A file
// system that knows no owners, or a foreign user namespace, keeps its owner.
func OwnStdio(uid int, terminal bool) error {
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			if err == unix.EBADF {
				continue // the caller closed it
			}
			return fmt.Errorf("own fd %d: %w", fd, err)
		}
		if int(st.Uid) == uid || st.Mode&unix.S_IFMT == unix.S_IFCHR && !terminal {
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
