package initproc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ownStdio gives stdin, stdout and stderr to the process's user, so that it
// can open /dev/stdout again: as root it was given pipes or a terminal of
// root's. /dev/null is not changed, it is everybody's; a file system that
// knows no owners or a foreign user namespace keeps its owner.
func ownStdio(uid int) error {
	var null unix.Stat_t
	if err := unix.Stat("/dev/null", &null); err != nil {
		null.Rdev = unix.Mkdev(1, 3)
	}
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			if err == unix.EBADF {
				continue // the caller closed it
			}
			return fmt.Errorf("own fd %d: %w", fd, err)
		}
		if int(st.Uid) == uid || st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == null.Rdev {
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
