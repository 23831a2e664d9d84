package notify

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// courier brings the listener of a filter to its agent: a second thread of
// init, which has no filter. The thread that loads the filter may not be able
// to: the profile may notify, or deny, whatever call it would make, and nobody
// answers before the agent has the listener.
//
// The two share nothing but three words. The thread with the filter makes no
// system call between the load and the execve: it stores what it has got, and
// looks until the courier is back, which takes one sendmsg. The courier sleeps
// until the filter is about to be loaded.
//
//	launch                       courier
//	called = 1, futex wake ----> wakes
//	load the filter              looks for the listener
//	listener = fd -------------> sendmsg, close    | errno -> page, exit_group
//	looks for back <------------ back = 1, sleeps for ever
//	execve: the courier ends
type courier struct {
	ready, called uint32
	listener      uint32 // plus 1
	back, never   uint32

	page *launch // where a failure is told
	sock uintptr
	msg  unix.Msghdr
	iov  unix.Iovec
	data []byte
	// CMSG_SPACE(sizeof(int)) on 64-bit machines.
	control [24]byte
}

// newCourier starts the courier's thread; the launch is what it speaks for.
// From here on init has two threads that the scheduler cannot have back, so
// that there is a P for each, and nothing may stop the world.
func newCourier(a *Agent, l *launch) (*courier, error) {
	if len(a.Message) == 0 {
		return nil, errors.New("seccomp agent: there is no message to send with the listener")
	}
	if err := unix.SetNonblock(a.Socket, false); err != nil {
		return nil, fmt.Errorf("seccomp agent: make the socket blocking: %w", err)
	}
	c := &courier{page: l, sock: uintptr(a.Socket), data: a.Message}
	copy(c.control[:], unix.UnixRights(0))
	c.iov.Base = &c.data[0]
	c.iov.SetLen(len(c.data))
	c.msg.Iov = &c.iov
	c.msg.Iovlen = 1
	c.msg.Control = &c.control[0]
	c.msg.SetControllen(unix.CmsgSpace(4))

	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	running := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(running)
		c.run()
	}()
	<-running
	// And now it comes to where the scheduler cannot reach it.
	for atomic.LoadUint32(&c.ready) == 0 {
		c.sleep(&c.ready)
	}
	return c, nil
}

// sleep waits until the word is no longer 0; it may return early.
//
//go:nosplit
func (c *courier) sleep(word *uint32) {
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitPrivate, 0, 0, 0, 0)
}

// wake makes the word 1 and wakes who sleeps on it.
//
//go:nosplit
func (c *courier) wake(word *uint32) {
	atomic.StoreUint32(word, 1)
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakePrivate, 1, 0, 0, 0)
}

const (
	futexWaitPrivate = 0 | 128 // FUTEX_WAIT | FUTEX_PRIVATE_FLAG
	futexWakePrivate = 1 | 128 // FUTEX_WAKE | FUTEX_PRIVATE_FLAG

	controlData = unix.SizeofCmsghdr // of the fd in control
)

// call tells the courier that the filter is about to be loaded.
//
//go:nosplit
func (c *courier) call() { c.wake(&c.called) }

// deliver hands over the listener, on the thread that has the filter, and
// returns when the agent has it. If that fails it does not return.
//
//go:nosplit
func (c *courier) deliver(listener uintptr) {
	atomic.StoreUint32(&c.listener, uint32(listener)+1)
	for atomic.LoadUint32(&c.back) == 0 {
	}
}

// run is the courier's thread. As in waiting, nothing here checks the stack.
//
//go:nosplit
func (c *courier) run() {
	c.wake(&c.ready)
	for atomic.LoadUint32(&c.called) == 0 {
		c.sleep(&c.called)
	}
	for atomic.LoadUint32(&c.listener) == 0 {
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	fd := c.listener - 1
	*(*uint32)(unsafe.Pointer(&c.control[controlData])) = fd
	if errno := c.send(); errno != 0 {
		atomic.StoreInt64(c.page.delivered, -int64(errno))
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
	// Neither is for the container, and the agent waits for the end of the
	// connection, or learns from that of the listener.
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	unix.RawSyscall(unix.SYS_CLOSE, c.sock, 0, 0)
	atomic.StoreUint32(&c.back, 1)
	for {
		c.sleep(&c.never)
	}
}

// send sends the message, the listener with its first byte.
//
//go:nosplit
func (c *courier) send() unix.Errno {
	for left := len(c.data); ; {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, c.sock, uintptr(unsafe.Pointer(&c.msg)), unix.MSG_NOSIGNAL)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		if left -= int(n); left <= 0 {
			return 0
		}
		c.iov.Base = (*byte)(unsafe.Add(unsafe.Pointer(c.iov.Base), n))
		c.iov.SetLen(left)
		c.msg.Control = nil
		c.msg.SetControllen(0)
	}
}
