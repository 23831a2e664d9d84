package cgroups

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Kill sends SIGKILL to everything in and below the cgroup, whatever it forks
// meanwhile, frozen or not; it does not wait for the processes to be gone. A
// cgroup that is gone has nothing to kill, which is no error. One that gourd
// did not make is not killed: ErrNotMade.
func (c *Cgroup) Kill() error {
	if c.absent {
		return c.check("kill")
	}
	if c.fd < 0 {
		return nil
	}
	if !c.made() {
		return fmt.Errorf("kill cgroup %s: %w", c.rec.Path, ErrNotMade)
	}
	err := writeAt(c.fd, "cgroup.kill", "1")
	switch {
	case errors.Is(err, unix.ENODEV): // removed
		return nil
	case errors.Is(err, unix.ENOENT):
		// Either a kernel before 5.14, or the cgroup is being removed: then
		// it has no process, and the way below finds none.
		err = c.killFrozen()
	}
	if err != nil {
		return fmt.Errorf("kill cgroup %s: %w", c.rec.Path, err)
	}
	return nil
}

// killFrozen is Kill for kernels without cgroup.kill. A frozen cgroup neither
// forks nor lets a pid be used again, so the list is complete; and a frozen
// process dies of SIGKILL all the same (cgroup-v2.rst, "cgroup.freeze"). Another
// process may still be put in from outside; then it goes round again.
func (c *Cgroup) killFrozen() error {
	if err := c.setFreeze("1"); err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	defer c.setFreeze("0")
	deadline := time.Now().Add(patience)
	for {
		if err := c.await("frozen", true); err != nil {
			return err
		}
		pids, err := c.Procs()
		if err != nil {
			return err
		}
		for _, pid := range slices.Backward(pids) {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
		populated, err := c.Populated()
		if err != nil || !populated || len(pids) == 0 {
			return err
		}
		// All that was listed is dying now: once it is gone the cgroup is
		// empty, or holds a newcomer that the next round lists.
		if err := c.awaitEmptyOrOthers(pids, deadline); err != nil {
			return err
		}
	}
}

// awaitEmptyOrOthers waits until none of pids is left in the cgroup.
func (c *Cgroup) awaitEmptyOrOthers(pids []int, deadline time.Time) error {
	for _, pid := range pids {
		fd, err := linux.PidfdOpen(pid)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return fmt.Errorf("pidfd of %d: %w", pid, err)
		}
		left := time.Until(deadline)
		n := 0
		err = ignoringEINTR(func() (err error) {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(left.Milliseconds(), 0)))
			return err
		})
		unix.Close(fd)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("process %d does not die: %w", pid, errPatience)
		}
	}
	return nil
}
