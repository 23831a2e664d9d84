package nsenter

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// conversation is the parent's half of what doc.go draws.
type conversation struct {
	r *Request
	p *program

	socket int    // the parent's end
	pid    int    // the child; the second one, once it has taken over
	pidfd  int    // of pid; -1: not yet
	image  []byte // what the child interprets

	first    int        // the pid of the first child, if a second has taken over, until it is reaped
	second   bool       // a second child has taken over
	isReady  bool       // the last child waits for Request.Ready
	executes bool       // the child has said that it executes the program
	failed   *StepError // the child has said that this failed
}

// hold holds the conversation to its end. When it returns an error there is
// no child any more.
func (c *conversation) hold() error {
	defer trace.Begin("wait for the child's execve").End()
	err := c.talk()
	c.closeSocket()
	if err == nil {
		err = c.judge()
	}
	if err != nil {
		c.bury()
	}
	return err
}

// closeSocket closes the parent's end. Closing twice is harmless.
func (c *conversation) closeSocket() {
	if c.socket >= 0 {
		unix.Close(c.socket)
		c.socket = -1
	}
}

// stepError is the error of a step whose result was -errno.
func stepError(s *Step, value int64) *StepError {
	return &StepError{Why: s.Why, Errno: unix.Errno(-value)}
}

// talk helps the child until it has nothing more to say.
func (c *conversation) talk() error {
	if c.p.waits {
		if err := c.prepare(); err != nil {
			return err
		}
	}
	for {
		index, value, ok, err := c.receive()
		if err != nil || !ok {
			return err
		}
		s := c.p.step(index)
		switch {
		case s == nil:
			return fmt.Errorf("the child speaks of a step %d, which does not exist", index)
		case value < 0:
			if c.failed == nil {
				c.failed = stepError(s, value)
			}
		case s.Says == SaysMapMe:
			if err := writeMaps(c.r, c.pid); err != nil {
				return err
			}
			if err := c.goOn(); err != nil {
				return err
			}
		case s.Says == SaysReady:
			c.isReady = true
		case s.Says == SaysCloned:
			c.first, c.pid, c.second = c.pid, int(value), true
		case s.Says == SaysExec:
			c.executes = true
		}
		// The second child may speak before the first has told its pid.
		if c.isReady && (c.second || !c.p.nested) {
			c.isReady = false
			if err := c.ready(); err != nil {
				return err
			}
		}
	}
}

// prepare does what the child waits for before it does anything.
func (c *conversation) prepare() error {
	if f := c.r.BeforeUnshareCgroup; f != nil {
		if err := f(c.pid); err != nil {
			return err
		}
	}
	if c.p.mapsNow {
		if err := writeMaps(c.r, c.pid); err != nil {
			return err
		}
	}
	return c.goOn()
}

// ready lets the requester look at the child before the steps of its own. The first
// child has ended by then: it would be a process too many in the cgroup of whatever
// is executed (EBUSY, if that gives controllers to its children).
func (c *conversation) ready() error {
	c.reapFirst()
	if c.pidfd < 0 {
		if err := c.openPidfd(); err != nil {
			return err
		}
	}
	// What a File holds it closes when it is forgotten; this one is c's.
	fd, err := unix.FcntlInt(uintptr(c.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("duplicate the child's pidfd: %w", err)
	}
	child := Child{PID: c.pid, PIDFD: os.NewFile(uintptr(fd), "pidfd")}
	defer child.PIDFD.Close()
	if err := c.r.Ready(&child); err != nil {
		return err
	}
	return c.goOn()
}

// program is what the child executes, for errors.
func (c *conversation) program() string {
	if c.r.Exe == nil {
		return "the program"
	}
	return c.r.Exe.Name()
}

// goOn ends a wait of the child. A child that has died meanwhile is no error
// here: the end of file tells.
func (c *conversation) goOn() error {
	for {
		err := unix.Sendto(c.socket, []byte{'g'}, unix.MSG_NOSIGNAL, nil)
		switch err {
		case unix.EINTR:
		case nil, unix.EPIPE, unix.ECONNRESET:
			return nil
		default:
			return fmt.Errorf("tell the child to go on: %w", err)
		}
	}
}

// openPidfd opens the pidfd that the clone did not give. The child is not
// reaped yet, so its pid is its own.
func (c *conversation) openPidfd() error {
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open of the child: %w", err)
	}
	c.pidfd = fd
	return nil
}

// receive returns the child's next message; ok is false at the end.
func (c *conversation) receive() (index int, value int64, ok bool, err error) {
	var msg [messageSize]byte
	for {
		n, err := unix.Read(c.socket, msg[:])
		switch {
		case err == unix.EINTR:
		case n == 0 && err == nil, err == unix.ECONNRESET:
			// Reset: it died without having read all that was sent.
			return 0, 0, false, nil
		case err != nil:
			return 0, 0, false, fmt.Errorf("read from the child: %w", err)
		case n != messageSize:
			return 0, 0, false, fmt.Errorf("read from the child: a message of %d bytes", n)
		default:
			le := binary.LittleEndian
			return int(le.Uint64(msg[:])), int64(le.Uint64(msg[8:])), true, nil
		}
	}
}

// judge returns what the end of the conversation means: nil if the child has
// been executed.
func (c *conversation) judge() error {
	if c.failed != nil {
		return c.failed
	}
	if !c.executes {
		return fmt.Errorf("the child died before it executed %s: %s", c.program(), c.end())
	}
	c.reapFirst()
	if c.p.nested && !c.second {
		// Killed between two instructions. The second child goes on, and
		// nobody knows its pid; what it executes must look for its parent.
		return fmt.Errorf("the first child died before it told of the second: %s", c.end())
	}
	if c.pidfd < 0 {
		if err := c.openPidfd(); err != nil {
			return err
		}
	}
	// Killed by a signal while still what it was before the execve?
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, c.pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.Signo == 0 || info.Code == cldExited || !c.neverExecuted() {
		return nil
	}
	return fmt.Errorf("the child died while it executed %s: %s", c.program(), c.end())
}

// cldExited is the si_code of a process that exited by itself.
const cldExited = 1

// neverExecuted reports whether the dead child still has the name that it
// gave itself: execve sets another.
func (c *conversation) neverExecuted() bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid) + "/comm")
	return err == nil && strings.TrimSuffix(string(b), "\n") == childName
}

// end waits for the child's end and says how it was.
func (c *conversation) end() string {
	ws, ok := reap(c.pid)
	c.pid = 0
	switch {
	case !ok:
		return "another part of the program has reaped it"
	case ws.Signaled():
		return "killed by signal " + strconv.Itoa(int(ws.Signal())) + " (" + unix.SignalName(ws.Signal()) + ")"
	}
	return "exit status " + strconv.Itoa(ws.ExitStatus())
}

// reapFirst waits for the end of the first child, which has nothing more to do when
// it has told of the second.
func (c *conversation) reapFirst() {
	if c.first != 0 {
		reap(c.first)
		c.first = 0
	}
}

// bury kills and reaps whatever is left of the children. Their pids are theirs
// until they are reaped.
func (c *conversation) bury() {
	for _, pid := range [...]int{c.first, c.pid} {
		if pid != 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
			reap(pid)
		}
	}
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
	}
}

// reap waits for the child pid; ok is false if there is no such child.
func reap(pid int) (ws unix.WaitStatus, ok bool) {
	for {
		_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
		if err != unix.EINTR {
			return ws, err == nil
		}
	}
}
