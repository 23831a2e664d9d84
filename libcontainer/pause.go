package libcontainer

import (
	"fmt"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// Pause freezes all processes of a running or created container and returns
// when they are frozen.
func (c *Container) Pause() error {
	return c.withCgroup("pause", func(s state.Status) bool { return s == state.Running || s == state.Created }, (*cgroups.Cgroup).Freeze)
}

// Resume thaws a paused container.
func (c *Container) Resume() error {
	return c.withCgroup("resume", func(s state.Status) bool { return s == state.Paused }, (*cgroups.Cgroup).Thaw)
}

// withCgroup does something to the cgroup of a container in a fitting state.
func (c *Container) withCgroup(verb string, fits func(state.Status) bool, do func(*cgroups.Cgroup) error) error {
	status, err := c.Status()
	if err != nil {
		return err
	}
	if status == state.Stopped {
		return fmt.Errorf("cannot %s container %q: %w", verb, c.rec.ID, ErrNotRunning)
	}
	if !fits(status) {
		return fmt.Errorf("cannot %s container %q: it is %s", verb, c.rec.ID, status)
	}
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	if err := do(cg); err != nil {
		return fmt.Errorf("cannot %s container %q: %w", verb, c.rec.ID, err)
	}
	return nil
}

// Processes returns the pids of all processes in the container's cgroup and
// below it.
func (c *Container) Processes() ([]int, error) {
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return nil, err
	}
	defer cg.Close()
	pids, err := cg.Procs()
	if err != nil {
		return nil, fmt.Errorf("list the processes of container %q: %w", c.rec.ID, err)
	}
	return pids, nil
}
