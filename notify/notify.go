// Package notify is the start gate: how `gourd start`, a process that has
// nothing in common with the container's init but a directory, releases it
// and learns what has become of it.
//
// Init listens on a unix socket in the container's state directory. Start
// connects; init answers with a page of shared memory and closes the socket.
// From there on init speaks by storing into the page, which no seccomp filter
// can forbid, and start listens by waiting for the end of the connection,
// which execve and death bring about alike:
//
//	start                            init
//	connect  ----------------------> accept4 returns
//	recvmsg <--------- page -------- sendmsg, close the listener
//	read …                           startContainer hooks     | Fail: text -> page, exit
//	                                 page: the execve is next
//	                                 Landlock, the filter     | errno -> page, die
//	                                 bring its listener away  | errno -> page, exit
//	                                 execve                   | errno -> page, die
//	read returns 0 <---------------- close-on-exec, or exit
//	look at the page
//
// It knows neither the container's status nor its lock: who may start what is
// decided by its caller. It runs no hooks.
package notify

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// socketName is the socket's name in the state directory.
const socketName = "notify.sock"

var (
	// ErrNotWaiting is the error of a start for an init that does not wait at
	// the gate.
	ErrNotWaiting = errors.New("container init does not wait to be started: it has ended, or was started by somebody else")
	// ErrDied is the error of a start whose init has ended before it came to
	// the execve.
	ErrDied = errors.New("container init died before execve")

	errOrphaned = errors.New("start gate: the runtime has died before it had recorded the container")
)

// Listen makes the gate's socket in a state directory, whose path may be
// longer than a socket address, and listens on it. The directory's mode, 0700,
// is what keeps others away.
func Listen(stateDir string) (*os.File, error) {
	// One start comes, as a rule. Any further one waits in the backlog and is
	// turned away when init closes the socket.
	return linux.ListenUnix(stateDir, socketName, 8)
}

// Step is what init was doing when it failed.
type Step uint32

// The steps from the gate to the user's program.
const (
	StepHooks    Step = iota + 1 // run the startContainer hooks
	StepFilter                   // load the seccomp filter
	StepExec                     // execve
	StepListener                 // bring the filter's listener to its agent
	StepLandlock                 // put the program under the Landlock ruleset
)

// Error is what went wrong in init between the gate and the user's program.
type Error struct {
	Step        Step
	Path        string     // the program
	Interpreter string     // the program's interpreter if that is what is missing
	Errno       unix.Errno // 0 if there is none
	Text        string     // init's own words, of StepHooks only
}

func (e *Error) Error() string {
	switch {
	case e.Step == StepExec && e.Interpreter != "":
		return fmt.Sprintf("exec %s: %v (its interpreter %s is not there)", e.Path, e.Errno, e.Interpreter)
	case e.Step == StepExec && e.Errno == unix.ENOENT:
		return fmt.Sprintf("exec %s: %v (it or its interpreter is not there)", e.Path, e.Errno)
	case e.Step == StepExec && e.Errno == unix.ENOEXEC:
		return fmt.Sprintf("exec %s: %v (it is neither a program for this machine's architecture nor a script with #!)", e.Path, e.Errno)
	case e.Step == StepExec && e.Errno == unix.EPERM:
		return fmt.Sprintf("exec %s: %v (the seccomp profile, or a security module, may forbid it)", e.Path, e.Errno)
	case e.Step == StepExec:
		return fmt.Sprintf("exec %s: %v", e.Path, e.Errno)
	case e.Step == StepFilter:
		return fmt.Sprintf("load seccomp filter: %v", e.Errno)
	case e.Step == StepLandlock:
		return fmt.Sprintf("restrict the process by Landlock: %v", e.Errno)
	case e.Step == StepListener:
		return fmt.Sprintf("send the seccomp filter's listener to its agent: %v", e.Errno)
	}
	return e.Text
}

// Unwrap returns the errno, or nil if there is none.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}
