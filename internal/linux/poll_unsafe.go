package linux

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawPoll is Poll behind the Go scheduler's back: as long as it waits, no
// goroutine takes over this thread's P, and so no thread is started to run
// one. It is for a process of one goroutine that may not start a thread. In
// any other it would hold up the garbage collector.
//
// Precondition: len(fds) > 0. The kernel writes into fds and *timeout only
// until the call returns.
func RawPoll(fds []unix.PollFd, timeout *unix.Timespec) error {
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
		uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if n == 0 {
		return unix.ETIMEDOUT
	}
	return nil
}
