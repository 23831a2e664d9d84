package integration

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is struct seccomp_notif, answer struct seccomp_notif_resp, of
// linux/seccomp.h.
type (
	call struct {
		id   uint64
		rest [72]byte
	}
	answer struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
)

const goOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

func receiveCall(listener int) (*call, error) {
	c := new(call)
	return c, ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(c))
}

// answerCall answers errno, or 0 for: go on.
func answerCall(listener int, c *call, errno unix.Errno) error {
	a := &answer{id: c.id, errno: -int32(errno)}
	if errno == 0 {
		a.flags = goOn
	}
	return ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(a))
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
