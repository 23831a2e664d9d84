package linux

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock (landlock(7)): the calls that x/sys has only the numbers of.

// landlockRuleNetPort is LANDLOCK_RULE_NET_PORT of linux/landlock.h.
const landlockRuleNetPort = 2

// LandlockABI returns the version of Landlock's interface that the kernel has;
// 0 where it has none, or where it is not enabled.
func LandlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// LandlockCreate makes a ruleset that handles the access rights to the
// filesystem and the network, and the scopes, which are then denied unless a
// rule allows them. The fd is close-on-exec. The error is an errno.
func LandlockCreate(fs, net, scoped uint64) (int, error) {
	// A kernel that knows less of the struct takes what is beyond that, if it
	// is zero.
	attr := unix.LandlockRulesetAttr{Handled_access_fs: fs, Handled_access_net: net, Scoped: scoped}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// LandlockAllowPath allows access to the file of the fd and, if it is a
// directory, to all below it. The error is an errno.
func LandlockAllowPath(ruleset, fd int, access uint64) error {
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	return landlockAdd(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&attr))
}

// LandlockAllowPort allows access to the port. The error is an errno.
func LandlockAllowPort(ruleset int, port uint16, access uint64) error {
	attr := struct{ access, port uint64 }{access, uint64(port)} // struct landlock_net_port_attr
	return landlockAdd(ruleset, landlockRuleNetPort, unsafe.Pointer(&attr))
}

func landlockAdd(ruleset int, kind uintptr, attr unsafe.Pointer) error {
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(attr), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
