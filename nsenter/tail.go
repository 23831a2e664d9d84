package nsenter

import "golang.org/x/sys/unix"

// Tail is the table of a child, for the steps of Request.Finish.
type Tail struct {
	*Table
	nofile *[2]uint64
}

// RestoreNofile appends what gives the child the limit on open files that gourd
// was started with: Go raises it.
func (t *Tail) RestoreNofile() {
	if l := t.nofile; l != nil {
		t.Call("restore the limit on open files", unix.SYS_PRLIMIT64, Num(0), Num(unix.RLIMIT_NOFILE), t.Words(l[0], l[1]), Num(0))
	}
}

// RestoreMask appends what gives the child the signal mask that gourd was
// started with. From here on a signal can end it, so that this belongs right
// before the execve.
func (t *Tail) RestoreMask() {
	t.Call("restore the signal mask", unix.SYS_RT_SIGPROCMASK, Num(unix.SIG_SETMASK), argMask, Num(0), Num(8))
}
