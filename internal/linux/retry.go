package linux

import "golang.org/x/sys/unix"

// A signal that the Go runtime handles, such as the one that preempts a
// goroutine, can end a system call on a slow file with EINTR.

func openRetry(dirfd int, path string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func readRetry(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return n, err
		}
	}
}
