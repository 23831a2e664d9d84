package notify

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Exec is the program that init executes, as init is then: everything about
// it that can fail has been done.
type Exec struct {
	Path string   // absolute, in the container
	Argv []string // the name included
	Env  []string
	// Ruleset is the fd of a Landlock ruleset that the program is put under
	// (landlock_restrict_self(2)), before the filter is loaded; 0 means none.
	Ruleset int
	Filter  *Filter // nil means none
	// Preserve is how many fds from 3 on the program inherits. They are open
	// and stay close-on-exec until Exec, so that no hook gets them.
	Preserve int
}

// Filter is a seccomp filter that is ready to be loaded (seccomp(2),
// SECCOMP_SET_MODE_FILTER).
type Filter struct {
	Prog  []unix.SockFilter
	Flags uint // SECCOMP_FILTER_FLAG_*; NEW_LISTENER goes with an Agent
	// NoExit is whether exit_group is no way to end this process: it kills the
	// calling thread alone, or waits for the agent.
	NoExit bool
	// Agent takes the filter's listener; nil: there is none.
	Agent *Agent
}

// Agent is who answers for the system calls that a filter hands to userspace.
type Agent struct {
	Socket  int    // connected, close-on-exec; the launch takes it over
	Message []byte // goes with the listener
}

// Gate is init's side. Its methods are for the locked thread of a process
// that does nothing else: Prepare, then Wait, then Fail or Exec. None of the
// last three starts a thread or needs memory of any size.
type Gate struct {
	page   *Page
	wait   *waiting
	launch *launch
}

// Prepare does all that can fail: after it, waiting and executing are nothing
// but prepared system calls. listener is what Listen has returned in the
// runtime, and runtime a blocking connection to it, on which it will write when
// it has recorded the container. The gate takes both over.
func Prepare(p *Page, listener, runtime int, e *Exec) (*Gate, error) {
	defer trace.Begin("prepare the gate").End()
	l, err := checkedLaunch(p, e)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(listener, false); err != nil {
		return nil, fmt.Errorf("start gate: make the socket blocking: %w", err)
	}
	// A listening socket carries who has called listen, as this process' user
	// namespace sees them (unix(7), SO_PEERCRED).
	owner, err := unix.GetsockoptUcred(listener, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("start gate: look at the socket's owner: %w", err)
	}
	return &Gate{page: p, wait: newWaiting(listener, runtime, owner.Uid, p.fd), launch: l}, nil
}

// Owner returns the user id that may start the container beside root, as this
// process' user namespace sees it: who has made the socket.
func (g *Gate) Owner() uint32 { return g.wait.owner }

// Mask returns the signal mask that the program gets.
func (g *Gate) Mask() uint64 { return g.launch.mask }

// Wait blocks until a start has come and has been given the page, and closes
// the socket. Before that it waits for the runtime's word that the container is
// recorded: where the runtime was killed on the way there, no start can ever
// come, and Wait returns an error. It has no effect on the process' threads, and
// no timeout.
//
//go:nosplit
func (g *Gate) Wait() error {
	if !g.wait.recorded() {
		return errOrphaned
	}
	if errno := g.wait.run(); errno != 0 {
		return fmt.Errorf("start gate: wait for start: %w", errno)
	}
	return nil
}

// Fail tells start that a startContainer hook failed, with its text and its
// errno if it has one. The caller then exits.
func (g *Gate) Fail(err error) {
	result := int64(failedSomehow)
	var errno unix.Errno
	if errors.As(err, &errno) {
		result = -int64(errno)
	}
	g.page.text(offText, PageSize, err.Error())
	g.page.put(ResultAt(StepHooks), result)
}

// Exec puts the thread under the ruleset, loads the filter and executes the program, with the signal mask that
// the thread had at Prepare and, as every execve does, default dispositions
// for all signals but the ignored ones. It never returns: on a failure start
// is told and the process ends, whatever the filter says.
//
//go:nosplit
func (g *Gate) Exec() { g.launch.run() }
