package notify

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiting is the wait for start, prepared: what the kernel reads lives on the
// heap, where it does not move.
//
// Its system calls are raw, so that the Go scheduler does not learn of them.
// A blocking call that it knows of makes it hand the P to another thread, and
// start one if there is none, which a pids limit may forbid. What it does see
// is a goroutine that has run for too long, and it asks that to yield at its
// next stack check: so from here to the execve there is none (go:nosplit),
// unless a hook is run.
type waiting struct {
	listener uintptr
	runtime  uintptr // where the runtime says that the container is recorded
	owner    uint32  // who may start
	msg      unix.Msghdr
	iov      unix.Iovec
	control  [24]byte // CMSG_SPACE(sizeof(int)) on 64-bit machines
	data     byte
	word     [64]byte // what the runtime says, longer than that ever is
}

func newWaiting(listener, runtime int, owner uint32, pagefd int) *waiting {
	w := &waiting{listener: uintptr(listener), runtime: uintptr(runtime), owner: owner}
	w.iov.Base = &w.data
	w.iov.SetLen(1)
	copy(w.control[:], unix.UnixRights(pagefd))
	w.msg.Iov = &w.iov
	w.msg.Iovlen = 1
	w.msg.Control = &w.control[0]
	w.msg.SetControllen(unix.CmsgSpace(4))
	return w
}

// OverflowUID is how a user namespace shows users from outside of it
// (user_namespaces(7)).
const OverflowUID = 65534

// recorded waits for the runtime's word and closes the connection. It returns
// false if the runtime has ended without a word. What the word is does not
// matter: there is but one.
//
//go:nosplit
func (w *waiting) recorded() bool {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, w.runtime, uintptr(unsafe.Pointer(&w.word[0])), uintptr(len(w.word)))
		if errno == unix.EINTR {
			continue
		}
		unix.RawSyscall(unix.SYS_CLOSE, w.runtime, 0, 0)
		return errno == 0 && n > 0
	}
}

// run accepts connections until one has taken the page, and leaves it open: it
// is to end with this process or its execve.
//
//go:nosplit
func (w *waiting) run() unix.Errno {
	for {
		conn, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, w.listener, 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return errno
		}
		// EPIPE: this start was killed while it waited. The next may come.
		if w.admits(conn) && w.send(conn) {
			break
		}
		unix.RawSyscall(unix.SYS_CLOSE, conn, 0, 0)
	}
	unix.RawSyscall(unix.SYS_CLOSE, w.listener, 0, 0)
	return 0
}

// admits tells whether the peer may start the container: its creator or root.
// Users of the container are known to init's user namespace and turned away;
// a user from outside of it cannot be told from another, and needs the state
// directory's permission to come here in the first place.
//
//go:nosplit
func (w *waiting) admits(conn uintptr) bool {
	var cred unix.Ucred
	size := uint32(unsafe.Sizeof(cred))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, conn, unix.SOL_SOCKET, unix.SO_PEERCRED,
		uintptr(unsafe.Pointer(&cred)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && (cred.Uid == w.owner || cred.Uid == 0 || cred.Uid == OverflowUID)
}

//go:nosplit
func (w *waiting) send(conn uintptr) bool {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, conn, uintptr(unsafe.Pointer(&w.msg)), unix.MSG_NOSIGNAL)
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}
