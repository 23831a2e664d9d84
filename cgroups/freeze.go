package cgroups

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Frozen tells whether all processes in and below the cgroup are frozen. One
// that is gone, or that never was, is not.
func (c *Cgroup) Frozen() (bool, error) {
	if c.fd < 0 {
		return false, nil
	}
	data, err := c.events()
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cgroup %s: %w", c.rec.Path, err)
	}
	return flag(data, "frozen"), nil
}

// Freeze stops all processes in and below the cgroup, and returns when they
// have stopped. If one does not stop within half a minute, the cgroup is thawed
// again and an error returned.
func (c *Cgroup) Freeze() error {
	if err := c.check("freeze"); err != nil {
		return err
	}
	err := c.setFreeze("1")
	if err == nil {
		if err = c.await("frozen", true); err != nil {
			_ = c.setFreeze("0") // the wait's error is the one that counts
		}
	}
	if err != nil {
		return fmt.Errorf("freeze cgroup %s: %w", c.rec.Path, err)
	}
	return nil
}

// Thaw lets the processes run again, and returns when they do. Where a cgroup
// above is frozen too they stay stopped, which is an error.
func (c *Cgroup) Thaw() error {
	if err := c.check("thaw"); err != nil {
		return err
	}
	err := c.setFreeze("0")
	switch {
	case err != nil:
	case c.frozenAbove():
		err = fmt.Errorf("a cgroup above it is frozen: %w", unix.EBUSY)
	default:
		err = c.await("frozen", false)
	}
	if err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", c.rec.Path, err)
	}
	return nil
}

// frozenAbove tells whether the parent is frozen, by itself or from above.
func (c *Cgroup) frozenAbove() bool {
	data, err := readAt(c.fd, "../cgroup.events") // the root has none
	return err == nil && flag(data, "frozen")
}

func (c *Cgroup) setFreeze(v string) error { return writeAt(c.fd, "cgroup.freeze", v) }
