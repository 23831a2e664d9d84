package linux

import "golang.org/x/sys/unix"

// PtyPeer opens the other end of the terminal whose master is given, without
// any path (ioctl_tty(2), TIOCGPTPEER, Linux 4.13). flags are those of
// open(2). The error is an errno.
func PtyPeer(master, flags int) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, uintptr(flags))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
