package linux

import (
	"golang.org/x/sys/unix"
)

// The calls in this file change the calling thread alone, unlike their
// namesakes in package syscall, which change every thread of the process; the
// caller has locked its goroutine to the thread. They are raw: the Go
// scheduler is not told, so that none of them makes it start a thread.

// SetThreadGIDs sets the real, effective and saved group id of the calling
// thread (setresgid(2)). The error is an errno.
func SetThreadGIDs(gid uint32) error {
	return raw(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
}

// SetThreadUIDs sets the real, effective and saved user id of the calling
// thread (setresuid(2)). The error is an errno.
func SetThreadUIDs(uid uint32) error {
	return raw(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
}

// SetThreadGroups sets the supplementary groups of the calling thread
// (setgroups(2)) to exactly these. The error is an errno.
func SetThreadGroups(gids []uint32) error {
	list := make([]int, len(gids))
	for i, g := range gids {
		list[i] = int(g)
	}
	return unix.Setgroups(list) // x/sys, unlike syscall, makes it a raw call
}

// Prctl calls prctl(2) with two arguments, the others 0. The error is an errno.
func Prctl(option int, arg2, arg3 uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, uintptr(option), arg2, arg3, 0, 0, 0)
	return errnoErr(errno)
}

// SetIOPriority sets the I/O priority of a thread, 0 for the calling one
// (ioprio_set(2)): 3 bits of class, 13 bits of level. The error is an errno.
func SetIOPriority(tid, class, level int) error {
	const whoProcess = 1 // IOPRIO_WHO_PROCESS: one thread, whatever its name says
	return raw(unix.SYS_IOPRIO_SET, whoProcess, uintptr(tid), uintptr(class<<13|level))
}

// SetPersonality sets the execution domain of the calling thread
// (personality(2)). The error is an errno.
func SetPersonality(domain uint32) error {
	return raw(unix.SYS_PERSONALITY, uintptr(domain), 0, 0)
}

func raw(trap, a1, a2, a3 uintptr) error {
	_, _, errno := unix.RawSyscall(trap, a1, a2, a3)
	return errnoErr(errno)
}

func errnoErr(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
