package state

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Status is what a container is doing (runtime-spec, runtime.md, "State",
// and runc's "paused").
type Status string

const (
	Creating Status = "creating" // create has not finished
	Created  Status = "created"  // init waits for start
	Running  Status = "running"  // the user's program has been executed
	Paused   Status = "paused"   // the same, and its cgroup is frozen
	Stopped  Status = "stopped"  // init has ended
)

// Status derives the container's status, no lock needed. frozen tells whether
// the container's cgroup is frozen; it is asked only if the answer matters,
// and may be nil.
func (d *Dir) Status(r *Record, frozen func() (bool, error)) (Status, error) {
	// The gate first, though init decides more: init can end between two
	// looks, and an open gate of an init that is alive *afterwards* has been
	// opened by its execve, not by its death.
	held := false
	if r.Ready {
		var err error
		if held, err = d.gateHeld(); err != nil {
			return "", err
		}
	}
	alive, err := r.alive()
	if err != nil {
		return "", err
	}
	switch {
	case !alive:
		return Stopped, nil
	case !r.Ready:
		return Creating, nil
	case held:
		return Created, nil
	case frozen == nil:
		return Running, nil
	}
	is, err := frozen()
	switch {
	case err != nil:
		return "", err
	case is:
		return Paused, nil
	}
	return Running, nil
}

// InitAlive tells whether the container's init, and not another process of
// the same pid, is there and has not ended. Asked while a pidfd of InitPID is
// open, the answer goes for the pidfd's process.
func (r *Record) InitAlive() (bool, error) { return r.alive() }

// alive tells whether the container's init, and not another process of the
// same pid, is there and has not ended.
func (r *Record) alive() (bool, error) {
	if r.InitPID <= 0 {
		return false, nil
	}
	st, err := linux.ReadProcStat(r.InitPID)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		// The kernel's word, in case /proc is not mounted or hides the process.
		if kerr := unix.Kill(r.InitPID, 0); kerr == unix.ESRCH {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("container %q: look at init: %w", r.ID, err)
	}
	if st.Ended() || st.Start != r.InitStart {
		return false, nil
	}
	boot, err := linux.BootID()
	if err != nil {
		return false, fmt.Errorf("container %q: read the boot id: %w", r.ID, err)
	}
	return boot == r.BootID, nil
}
