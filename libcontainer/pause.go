package libcontainer

import (
	"fmt"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// Pause freezes all processes of a running or created container and returns
// when they are frozen.
func (c *Container) Pause() error {
	return c.freezer("pause", false, (*cgroups.Cgroup).Freeze)
}

// Resume thaws a paused container, also one that was paused before its start.
func (c *Container) Resume() error {
	return c.freezer("resume", true, (*cgroups.Cgroup).Thaw)
}

// freezer does something to the cgroup of a live container that is, or is
// not, frozen now. The cgroup is asked, not the status, which is "created" for
// a container that waits at the gate, frozen or not.
func (c *Container) freezer(verb string, frozen bool, do func(*cgroups.Cgroup) error) error {
	status, err := c.Status()
	switch {
	case err != nil:
		return err
	case status == state.Stopped:
		return fmt.Errorf("cannot %s container %q: %w", verb, c.rec.ID, ErrNotRunning)
	case status == state.Creating:
		return fmt.Errorf("cannot %s container %q: it is being created", verb, c.rec.ID)
	}
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	is, err := cg.Frozen()
	if err == nil && is != frozen {
		return fmt.Errorf("cannot %s container %q: it is %s", verb, c.rec.ID, status)
	}
	if err == nil {
		err = do(cg)
	}
	if err != nil {
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
