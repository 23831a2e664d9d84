package linux

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExecFD executes the file that fd is open on in place of this process
// (execveat(2), AT_EMPTY_PATH). argv ends with a nil; the environment is empty.
// It returns only if that failed, with an errno. The call is raw: nothing of
// the Go runtime's is done around it.
func ExecFD(fd int, argv []*byte) error {
	var nothing byte
	var env *byte
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&nothing)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env)), unix.AT_EMPTY_PATH, 0)
	runtime.KeepAlive(argv)
	return errnoErr(errno)
}

// BlockSignals adds signals to the calling thread's mask, bit n-1 for signal n,
// and SetSignalMask sets it. The error is an errno.
func BlockSignals(set uint64) error { return sigmask(unix.SIG_BLOCK, set) }

// SetSignalMask is described at BlockSignals.
func SetSignalMask(set uint64) error { return sigmask(unix.SIG_SETMASK, set) }

func sigmask(how int, set uint64) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(how), uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0)
	return errnoErr(errno)
}

// SignalIgnored is whether this process ignores a signal.
func SignalIgnored(sig unix.Signal) (bool, error) {
	const ignore = 1
	var action [4]uint64 // no smaller than the kernel's struct; the handler is its first word
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	return action[0] == ignore, errnoErr(errno)
}
