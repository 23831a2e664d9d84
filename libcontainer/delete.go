package libcontainer

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// DeleteOptions is what the command line says of a delete.
type DeleteOptions struct {
	// Force kills the container first, whatever its state, and makes an
	// unknown id a success.
	Force bool
	// Log takes the warnings of poststop hooks. Nil: nobody.
	Log *slog.Logger
}

// Delete removes a stopped container: what is left in its cgroup, the cgroup,
// and its state. Anything but a stopped container is an error that changes
// nothing, unless it is forced.
func Delete(root, id string, o DeleteOptions) error {
	if err := state.ValidID(id); err != nil {
		return err
	}
	c, err := Load(root, id)
	for o.Force && errors.Is(err, state.ErrNoRecord) {
		if err = deleteHalfMade(root, id); err == nil {
			c, err = Load(root, id) // its create was alive, and has made it whole
		}
	}
	if o.Force && errors.Is(err, state.ErrNotExist) {
		return nil
	}
	if errors.Is(err, state.ErrNoRecord) && errors.Is(awaitHolder(root, id), state.ErrNotExist) {
		// Another delete was at it, whose first step the missing record was.
		return fmt.Errorf("%w: %q", state.ErrNotExist, id)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	return c.delete(o)
}

// awaitHolder waits for who holds the container's lock. The error is ErrNotExist
// if the container is gone then.
func awaitHolder(root, id string) error {
	dir, err := state.Open(root, id)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Lock()
}

func (c *Container) delete(o DeleteOptions) error {
	log := discard(o.Log)
	if o.Force {
		// Before the lock: whoever holds it may wait for this very init.
		if err := c.kill(); err != nil {
			return err
		}
	}
	if err := c.dir.Lock(); err != nil {
		if o.Force && errors.Is(err, state.ErrNotExist) {
			return nil // a create that failed has removed it meanwhile
		}
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	status, err := c.Status()
	if err != nil {
		return err
	}
	if status != state.Stopped {
		return fmt.Errorf("cannot delete container %q that is not stopped: it is %s", c.rec.ID, status)
	}
	if !c.kept.PrivatePID {
		// They outlive init, and nothing else would ever end them.
		if err := c.killCgroup(); err != nil {
			return err
		}
	}
	return c.remove(log)
}

// remove takes away the cgroup, the groups in resctrl and the state directory and runs the poststop
// hooks, which the spec wants after everything else.
func (c *Container) remove(log *slog.Logger) error {
	defer trace.Begin("remove the container").End()
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	if err := c.dir.TellOOM(cg.OOMKills); err != nil {
		log.Warn(err.Error())
	}
	if err := cg.Remove(); err != nil {
		return err
	}
	if err := c.kept.Resctrl.Remove(); err != nil {
		return err
	}
	if err := c.kept.Shared.remove(); err != nil {
		return err
	}
	if err := c.dir.Remove(); err != nil {
		return err
	}
	poststop(c.kept.Hooks.Poststop, c.hookState(), log)
	return nil
}

// deleteHalfMade removes what a create has left that died before it wrote a
// record: the cgroup, and the state directory. There was no process yet that
// would outlive it. It waits for
// a create that is alive, and leaves a container that has a record by then.
// The error is ErrNotExist when there is none, or none any more.
func deleteHalfMade(root, id string) error {
	dir, err := state.Open(root, id)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Lock(); err != nil { // a create that is alive holds it
		return err
	}
	if _, err := dir.Load(); !errors.Is(err, state.ErrNoRecord) {
		return err
	}
	if err := errors.Join(removeNoted(dir), dir.Remove()); err != nil {
		return err
	}
	return fmt.Errorf("%w: %q: its half-made state is removed", state.ErrNotExist, id)
}
