package seccomp

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// victim_unsafe_test.go: the victim's system calls that take pointers. Each is
// to a variable that lives through the call; the heap does not move.

// loadFilter is what package notify does right before execve.
func loadFilter(p *Program) (int, error) {
	prog := p.Fprog()
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(p.Flags), uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// watchThread tells, from another thread, when the calling one has ended, and
// then ends the process. The kernel clears the word then (set_tid_address(2)).
func watchThread() {
	word := new(uint32)
	*word = 1
	unix.RawSyscall(unix.SYS_SET_TID_ADDRESS, uintptr(unsafe.Pointer(word)), 0, 0)
	go func() {
		const futexWait = 0
		for atomic.LoadUint32(word) != 0 {
			unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, 1, 0, 0, 0)
		}
		fmt.Println("the thread has ended")
		os.Exit(0)
	}()
}

// request is struct seccomp_notif of linux/seccomp.h.
type request struct {
	ID         uint64
	Pid, Flags uint32
	Nr, Arch   uint32
	IP         uint64
	Args       [6]uint64
}

// receive waits for a call that the listener is to decide.
func receive(listener int) (r request, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&r)))
	if errno != 0 {
		err = fmt.Errorf("receive a notification: %w", errno)
	}
	return r, err
}

// answer makes a call return value.
func answer(listener int, id uint64, value int64) error {
	response := struct { // struct seccomp_notif_resp
		ID           uint64
		Val          int64
		Error, Flags int32
	}{ID: id, Val: value}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&response)))
	if errno != 0 {
		return fmt.Errorf("answer a notification: %w", errno)
	}
	return nil
}
