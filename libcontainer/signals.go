package libcontainer

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// ending are the signals by which people and service managers end a program.
// They are taken before anything is made: gourd must not be ended half-way.
var ending = [...]os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT}

// likely are the others that somebody sends to a run or an exec in the
// foreground, or that would end it while its container lives on.
var likely = [...]os.Signal{
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGPIPE, unix.SIGALRM, unix.SIGTSTP, unix.SIGCONT, unix.SIGABRT,
}

// others are the rest: the real-time ones, and what nobody sends. Not among
// them are SIGTTIN and SIGTTOU, the terminal's answer when gourd itself uses it
// from the background: were they caught, the kernel would repeat the call and
// the signal without end, where a program is meant to be stopped.
func others() []os.Signal {
	var list []os.Signal
	for sig := unix.Signal(1); sig <= lastSignal; sig++ {
		if sig != unix.SIGTTIN && sig != unix.SIGTTOU {
			list = append(list, sig)
		}
	}
	return list
}

// lastSignal is SIGRTMAX, the same on every architecture that gourd builds for.
const lastSignal = 64

// catcher takes the signals that are meant for a container.
type catcher struct {
	C     chan os.Signal
	armed chan struct{}
}

// catch begins to take signals; they are queued until somebody reads C. All but
// the first are taken beside what the caller does: the Go runtime needs a
// tenth of a millisecond for each, for all of them as long as the rest of a
// run.
func catch() *catcher {
	c := &catcher{make(chan os.Signal, 64), make(chan struct{})}
	signal.Notify(c.C, ending[:]...)
	go func() {
		signal.Notify(c.C, likely[:]...)
		close(c.armed)
		signal.Notify(c.C, others()...)
	}()
	return c
}

// ready returns when the likely signals are taken: before that the container's
// program must not run, for it may send or expect one. A nil catcher is ready.
func (c *catcher) ready() {
	if c != nil {
		<-c.armed
	}
}

// forwarded returns whether a signal is the container's: not those that are
// about gourd itself, a child's end, the Go scheduler's, a reader that is gone.
func forwarded(s unix.Signal) bool {
	return s != unix.SIGCHLD && s != unix.SIGURG && s != unix.SIGPIPE
}
