package seccomp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// actionAvailable asks the kernel for an action (SECCOMP_GET_ACTION_AVAIL,
// kernel 4.14). The pointer is to a variable that lives through the call.
func actionAvailable(action uint32) bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

// flagsAvailable asks the kernel for flags by loading no filter with them: it
// looks at the flags before it reads the program, so that EFAULT means that it
// knows them and EINVAL that it does not. Nothing is loaded.
func flagsAvailable(flags uint32) bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), 0)
	return errno == unix.EFAULT
}
