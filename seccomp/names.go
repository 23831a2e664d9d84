package seccomp

import "golang.org/x/sys/unix"

// operator compares an argument with a value.
type operator uint8

const (
	ne operator = iota
	lt
	le
	eq
	ge
	gt
	maskedEQ
)

// KnownActions returns the actions that Compile takes, for `features`.
func KnownActions() []string {
	return []string{
		"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
		"SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
	}
}

// KnownOperators returns the operators that Compile takes, for `features`.
func KnownOperators() []string {
	return []string{
		"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
		"SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
	}
}

// KnownFlags returns the flags that Compile takes, for `features`.
func KnownFlags() []string {
	return []string{
		"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
		"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
	}
}

// KnownArchs returns the architectures that Compile takes, for `features`:
// those of the runtime-spec, less those that no kernel gourd runs on can report
// or for which there is no table.
func KnownArchs() []string {
	var names []string
	for i := range abis {
		if abis[i].slots != nil {
			names = append(names, abis[i].name)
		}
	}
	return names
}

// actionNamed returns what a filter returns for an action of the runtime-spec,
// without its data, and whether there is such an action.
func actionNamed(name string) (uint32, bool) {
	switch name {
	case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD":
		return unix.SECCOMP_RET_KILL_THREAD, true
	case "SCMP_ACT_KILL_PROCESS":
		return unix.SECCOMP_RET_KILL_PROCESS, true
	case "SCMP_ACT_TRAP":
		return unix.SECCOMP_RET_TRAP, true
	case "SCMP_ACT_ERRNO":
		return unix.SECCOMP_RET_ERRNO, true
	case "SCMP_ACT_TRACE":
		return unix.SECCOMP_RET_TRACE, true
	case "SCMP_ACT_ALLOW":
		return unix.SECCOMP_RET_ALLOW, true
	case "SCMP_ACT_LOG":
		return unix.SECCOMP_RET_LOG, true
	case "SCMP_ACT_NOTIFY":
		return unix.SECCOMP_RET_USER_NOTIF, true
	}
	return 0, false
}

// takesErrno tells the actions that carry data: ERRNO the errno, TRACE what
// the tracer asks for with PTRACE_GETEVENTMSG.
func takesErrno(action uint32) bool {
	return action == unix.SECCOMP_RET_ERRNO || action == unix.SECCOMP_RET_TRACE
}

// maxErrno is the greatest errno, MAX_ERRNO of linux/err.h.
const maxErrno = 4095

// permits tells the actions after which the kernel runs the call by itself.
func permits(action uint32) bool {
	return action == unix.SECCOMP_RET_ALLOW || action == unix.SECCOMP_RET_LOG
}

// enosys is what a call gets that is newer than the profile.
const enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)

// wantsTail tells whether, under a default action, calls newer than the profile
// get ENOSYS instead: not if it lets calls through, and neither if it hands
// them to a tracer, which can answer ENOSYS itself.
func wantsTail(action uint32) bool {
	return !permits(action) && action&unix.SECCOMP_RET_ACTION_FULL != unix.SECCOMP_RET_TRACE && action != enosys
}

func operatorNamed(name string) (operator, bool) {
	switch name {
	case "SCMP_CMP_NE":
		return ne, true
	case "SCMP_CMP_LT":
		return lt, true
	case "SCMP_CMP_LE":
		return le, true
	case "SCMP_CMP_EQ":
		return eq, true
	case "SCMP_CMP_GE":
		return ge, true
	case "SCMP_CMP_GT":
		return gt, true
	case "SCMP_CMP_MASKED_EQ":
		return maskedEQ, true
	}
	return 0, false
}

func flagNamed(name string) (uint32, bool) {
	switch name {
	case "SECCOMP_FILTER_FLAG_TSYNC":
		return unix.SECCOMP_FILTER_FLAG_TSYNC, true
	case "SECCOMP_FILTER_FLAG_LOG":
		return unix.SECCOMP_FILTER_FLAG_LOG, true
	case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, true
	case "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
		return unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, true
	}
	return 0, false
}
