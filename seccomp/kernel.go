package seccomp

import "golang.org/x/sys/unix"

// kernel.go: what the running kernel offers. Each function asks it anew; only
// `features` and refusals need them, never the way to a container.

// Available tells whether the kernel has seccomp filters: it has since 3.5, and
// can be asked since 4.14 (seccomp(2)).
func Available() bool { return actionAvailable(unix.SECCOMP_RET_ALLOW) }

// SupportedActions returns those of KnownActions that the kernel has.
func SupportedActions() []string {
	var out []string
	for _, name := range KnownActions() {
		if a, _ := actionNamed(name); actionAvailable(a) {
			out = append(out, name)
		}
	}
	return out
}

// SupportedFlags returns those of KnownFlags that the kernel has, as it is or
// by what they are for: see Program.Flags on TSYNC.
func SupportedFlags() []string {
	var out []string
	for _, name := range KnownFlags() {
		f, _ := flagNamed(name)
		if f == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV {
			f |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER // it is refused alone
		}
		if flagsAvailable(f) {
			out = append(out, name)
		}
	}
	return out
}
