package linux

import "golang.org/x/sys/unix"

// PidfdOpen returns a pidfd of the process pid (pidfd_open(2), Linux 5.3). For
// one that is gone the error is ESRCH. Older kernels, 6.12 among them, say EINVAL
// instead while its number is still in use for something else: as that of its
// session or process group, which others of it outlive, or of a thread.
func PidfdOpen(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.EINVAL && pid > 0 {
		err = unix.ESRCH
	}
	return fd, err
}
