package nsenter

import "golang.org/x/sys/unix"

// Tail is the table of a child, for the steps of Request.Finish.
type Tail struct {
	*Table
	nofile *[2]uint64
	socket int // the child's end of the conversation
}

// Socket returns the child's end of the conversation with gourd. Tail.Await reads
// from it; whose steps close it goes on by itself.
func (t *Tail) Socket() int { return t.socket }

// Say appends what tells gourd that the child has come here, of which
// Running.Await returns.
func (t *Tail) Say(why string) { t.say(SaysOwn, t.socket, why) }

// Await appends the wait for Running.Go. A gourd that has died ends the child.
func (t *Tail) Await(why string) { t.await(t.socket, why) }

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
