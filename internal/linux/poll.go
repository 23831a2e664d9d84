package linux

import "golang.org/x/sys/unix"

// Poll is ppoll(2) without a signal mask; timeout nil is forever. It returns
// nil on an event, ETIMEDOUT without one, and may return EINTR.
func Poll(fds []unix.PollFd, timeout *unix.Timespec) error {
	n, err := unix.Ppoll(fds, timeout, nil)
	if err == nil && n == 0 {
		return unix.ETIMEDOUT
	}
	return err
}
