// fds.go: the file descriptors that the caller passes on to the container.

package cli

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstFD is the first descriptor after stdio; sd_listen_fds(3) counts from it too.
const firstFD = 3

// listenFDs returns how many sockets the caller passed by the protocol of
// sd_listen_fds(3): $LISTEN_FDS, if $LISTEN_PID is this process. They are passed
// on to the container ahead of those of --preserve-fds.
func listenFDs() int {
	return parseListenFDs(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getpid())
}

func parseListenFDs(pid, fds string, self int) int {
	if n, err := strconv.Atoi(pid); err != nil || n != self {
		return 0
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// checkFDs checks that the n descriptors after stdio were really passed to this
// process. An open one is not enough: gourd's own files may have landed on a
// number that the caller left free, and must not be passed on. But an inherited
// descriptor is never close-on-exec, and gourd's own always are.
func checkFDs(n int) error {
	for fd := firstFD; fd < firstFD+n; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err != nil {
			return fmt.Errorf("preserve file descriptor %d (of %d to %d): %w: the caller did not pass it", fd, firstFD, firstFD+n-1, err)
		}
	}
	return nil
}
