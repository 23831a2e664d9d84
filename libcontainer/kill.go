package libcontainer

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// Kill sends a signal to the container's init, 0 too, which only asks. A
// SIGKILL to a container without a pid namespace of its own goes to all that
// is in its cgroup, also when init has ended before: nothing else would end
// them. all sends any signal to every process of the container, once, and
// makes "container not running" a success, as --all always has.
func (c *Container) Kill(sig unix.Signal, all bool) error {
	if sig == unix.SIGKILL && !c.kept.PrivatePID {
		return c.killCgroup()
	}
	if all && sig != unix.SIGKILL && len(c.kept.Cgroup.Made) > 0 {
		return c.signalAll(sig)
	}
	status, err := c.Status()
	if err != nil {
		return err
	}
	if status != state.Stopped {
		err = c.signalInit(sig)
	}
	if status == state.Stopped || err == unix.ESRCH {
		if all {
			return nil
		}
		return fmt.Errorf("container %q: %w", c.rec.ID, ErrNotRunning)
	}
	if err != nil {
		return fmt.Errorf("container %q: send signal %d to its init (pid %d): %w", c.rec.ID, sig, c.rec.InitPID, err)
	}
	return nil
}

// signalAll signals each process in the container's cgroup, and init if it has
// left that. (In a cgroup that was there before, others may be.)
func (c *Container) signalAll(sig unix.Signal) error {
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	pids, err := cg.Procs()
	if err == nil {
		err = cg.Signal(sig)
	}
	if err == nil && !slices.Contains(pids, c.rec.InitPID) {
		if err = c.signalInit(sig); err == unix.ESRCH {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("container %q: send signal %d to all of it: %w", c.rec.ID, sig, err)
	}
	return nil
}

// signalInit signals init through a pidfd that is known to be init's: the pid
// may have been given to another process since.
func (c *Container) signalInit(sig unix.Signal) error {
	defer trace.Begin("send the signal").End()
	fd, err := c.initPidfd()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// initPidfd returns a pidfd of init, or ESRCH if init is gone.
func (c *Container) initPidfd() (int, error) {
	if c.rec.InitPID == 0 {
		return -1, unix.ESRCH
	}
	fd, err := linux.PidfdOpen(c.rec.InitPID)
	if err != nil {
		return -1, err
	}
	alive, err := c.rec.InitAlive() // checked after the pidfd was opened: it holds the pid
	if err == nil && !alive {
		err = unix.ESRCH
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// kill ends init and whatever is in the container's cgroup, and returns when
// init is dead. It is right in any state.
func (c *Container) kill() error {
	if err := c.killCgroup(); err != nil {
		return err
	}
	// Not all are in a cgroup (--cgroup-manager disabled), and init may have
	// left it.
	if err := c.signalInit(unix.SIGKILL); err != nil && err != unix.ESRCH {
		return fmt.Errorf("container %q: kill its init (pid %d): %w", c.rec.ID, c.rec.InitPID, err)
	}
	return c.awaitEnd()
}

// awaitEnd waits until init, which is about to end, has ended.
func (c *Container) awaitEnd() error {
	fd, err := c.initPidfd()
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("container %q: find its init (pid %d): %w", c.rec.ID, c.rec.InitPID, err)
	}
	defer unix.Close(fd)
	if err := linux.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, nil); err != nil {
		return fmt.Errorf("container %q: wait for the end of its init (pid %d): %w", c.rec.ID, c.rec.InitPID, err)
	}
	return nil
}

// killCgroup kills all that is in the container's cgroup; where gourd made
// none, init is all there is to find.
func (c *Container) killCgroup() error {
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	err = cg.Kill()
	if errors.Is(err, cgroups.ErrNone) || errors.Is(err, cgroups.ErrNotMade) {
		if err = c.signalInit(unix.SIGKILL); err == unix.ESRCH {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("container %q: kill it: %w", c.rec.ID, err)
	}
	return nil
}
