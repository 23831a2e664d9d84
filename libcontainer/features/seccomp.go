package features

import "golang.org/x/sys/unix"

// supportedFlags returns those of the seccomp filter flags that this kernel
// takes. Without a filter program seccomp(2) fails in any case: with EINVAL for
// a flag that it does not know, with EFAULT when only the program is missing.
func supportedFlags(known []string) []string {
	var names []string
	for _, name := range known {
		flag, ok := flagBits(name)
		if !ok {
			continue
		}
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flag, 0)
		if errno == unix.EFAULT {
			names = append(names, name)
		}
	}
	return names
}

// flagBits returns what to ask the kernel for a flag's name.
func flagBits(name string) (uintptr, bool) {
	switch name {
	case "SECCOMP_FILTER_FLAG_TSYNC":
		return unix.SECCOMP_FILTER_FLAG_TSYNC, true
	case "SECCOMP_FILTER_FLAG_LOG":
		return unix.SECCOMP_FILTER_FLAG_LOG, true
	case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, true
	case "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
		// It is about the listener, and refused without one.
		return unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, true
	}
	return 0, false
}
