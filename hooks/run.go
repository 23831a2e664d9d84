package hooks

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Site is where hooks run. The zero value is the caller's own surroundings.
type Site struct {
	// Dir is the working directory; empty means the caller's. The spec names
	// none; runc and crun run the hooks of create in the bundle.
	Dir string
	// Env is the environment of hooks that have no env of their own; nil
	// means the caller's. The spec says nothing; runc and crun give the hooks
	// in the runtime's namespaces their own environment, and runc gives
	// startContainer hooks that of the container's process.
	Env []string
	// OneThread waits without ever letting the Go scheduler start a thread,
	// for the last part of init, where a pids limit may forbid one.
	OneThread bool
}

// ErrTimeout is in the error for a hook that ran longer than its timeout.
var ErrTimeout = errors.New("timed out")

// Error is the error of a hook that failed.
type Error struct {
	Phase  string
	Index  int
	Path   string
	Err    error  // an errno, ErrTimeout, or how the hook ended
	Output string // the end of what it wrote to stderr and stdout, may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("error running %s hook #%d: %s: %v", e.Phase, e.Index, e.Path, e.Err)
	if e.Output != "" {
		s += ": " + e.Output
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Run runs the hooks of a phase in the caller's own surroundings, see
// Site.Run.
func Run(phase string, hs []Hook, state []byte) error { return Site{}.Run(phase, hs, state) }

// Run runs the hooks of a phase, one after the other, until one fails, whose
// *Error it returns. Each finds state on its stdin and may leave it unread.
//
// A hook has ended when its process has: what it leaves in the background
// goes on, but its output is no longer read, so that writing to it fails. On
// a timeout the hook is killed with its process group.
func (s Site) Run(phase string, hs []Hook, state []byte) error {
	defer trace.BeginOf("run the hooks", phase).End()
	for i := range hs {
		out, err := s.run(&hs[i], state)
		if err != nil {
			return &Error{Phase: phase, Index: hs[i].Index, Path: hs[i].Path, Err: err, Output: out}
		}
	}
	return nil
}

// run runs one hook and returns what it wrote.
//
// Not os/exec: that needs a goroutine for each pipe and one for the timeout,
// and waits for the pipes as long as anybody at all holds them.
func (s Site) run(h *Hook, state []byte) (string, error) {
	var c conversation
	defer c.close()
	stdin, output, err := c.open(state)
	if err != nil {
		return "", err
	}
	args, env := h.Args, h.Env
	if len(args) == 0 {
		args = []string{h.Path}
	}
	if !h.HasEnv {
		if env = s.Env; env == nil {
			env = os.Environ()
		}
	}
	pid, err := syscall.ForkExec(h.Path, args, &syscall.ProcAttr{
		Dir:   s.Dir,
		Env:   env,
		Files: []uintptr{uintptr(stdin), uintptr(output), uintptr(output)},
		// A process group of its own, to kill it as a whole.
		Sys: &syscall.SysProcAttr{Setpgid: true, PidFD: &c.pidfd},
	})
	unix.Close(stdin)
	unix.Close(output)
	if err != nil {
		if s.Dir != "" {
			// ForkExec does not tell which of its steps failed.
			if _, derr := os.Stat(s.Dir); derr != nil {
				return "", fmt.Errorf("change to its working directory: %w", derr)
			}
		}
		return "", fmt.Errorf("execute it: %w", err)
	}

	poll := linux.Poll
	if s.OneThread {
		poll = linux.RawPoll
	}
	terr := c.talk(poll, h.Timeout)
	if terr != nil {
		// Its process group is its own and, until wait4, cannot be another's.
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	ws, err := wait(pid)
	c.drain()
	switch {
	case terr != nil:
		err = terr
	case err != nil:
		err = fmt.Errorf("wait for it: %w", err)
	case ws.Signaled():
		err = fmt.Errorf("killed by signal %d (%s)", int(ws.Signal()), unix.SignalName(ws.Signal()))
	case ws.ExitStatus() != 0:
		err = fmt.Errorf("exit status %d", ws.ExitStatus())
	}
	return c.tail(), err
}

// wait reaps a child that has ended or is about to.
func wait(pid int) (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err != unix.EINTR {
			return ws, err
		}
	}
}

// clean makes a hook's output fit into an error.
func clean(b []byte) string {
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}
