package libcontainer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/resctrl"
)

// Event is one thing that Events tells, as runc's JSON has it.
type Event struct {
	Type string `json:"type"` // EventStats or EventOOM
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"` // *cgroups.Stats with EventStats, or statsWithRDT
}

// statsWithRDT has what the cgroup knows nothing of, in its place.
type statsWithRDT struct {
	*cgroups.Stats
	IntelRdt *resctrl.Stats `json:"intel_rdt"`
}

// The types of an Event.
const (
	EventStats = "stats"
	EventOOM   = "oom"
)

// Stats returns what the container uses now.
func (c *Container) Stats() (*Event, error) {
	status, err := c.Status()
	if err != nil {
		return nil, err
	}
	if status == state.Stopped {
		return nil, c.notRunning()
	}
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return nil, err
	}
	defer cg.Close()
	return c.stats(cg)
}

func (c *Container) stats(cg *cgroups.Cgroup) (*Event, error) {
	s, err := cg.Stats()
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	rdt, err := c.kept.Resctrl.Stats()
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	if rdt == nil {
		return &Event{EventStats, c.rec.ID, s}, nil
	}
	return &Event{EventStats, c.rec.ID, &statsWithRDT{s, rdt}}, nil
}

func (c *Container) notRunning() error {
	return fmt.Errorf("container with id %s is not running", c.rec.ID) // runc's words
}

// EventOptions is what the command line says of the events.
type EventOptions struct {
	Interval time.Duration // between the stats
	Tell     func(*Event) error
	// Log takes stats that could not be read. Nil: nobody.
	Log *slog.Logger
}

// Events tells the stats once every interval, and at once that the OOM killer
// has killed something of the container, until the container has ended. Kills
// that were before are told first, also of a container that has ended already.
func (c *Container) Events(o EventOptions) error {
	// Whoever deletes the container from now on tells of the last kills.
	told, err := c.dir.WatchOOM()
	if err != nil {
		return err
	}
	defer told.Close()
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	pidfd, err := c.initPidfd()
	if err == unix.ESRCH {
		return c.eventsOfStopped(cg, o.Tell)
	}
	if err != nil {
		return fmt.Errorf("container %q: watch its init (pid %d): %w", c.rec.ID, c.rec.InitPID, err)
	}
	defer unix.Close(pidfd)
	w, err := cg.WatchOOM()
	if err != nil {
		return fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	defer w.Close()
	return c.events(&watch{cg, w, pidfd, told}, o)
}

// watch is what Events looks at.
type watch struct {
	cg    *cgroups.Cgroup
	oom   *cgroups.Watch
	pidfd int
	told  *os.File
}

func (c *Container) events(w *watch, o EventOptions) error {
	next := time.Now().Add(o.Interval)
	for {
		kills, ended, err := w.oom.Wait(w.pidfd, next)
		if err == nil && ended && kills == 0 {
			kills, err = w.lastKills()
		}
		if err != nil {
			return fmt.Errorf("container %q: %w", c.rec.ID, err)
		}
		if kills > 0 {
			if err := o.Tell(&Event{Type: EventOOM, ID: c.rec.ID}); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
		if now := time.Now(); !now.Before(next) {
			if next = next.Add(o.Interval); next.Before(now) {
				next = now.Add(o.Interval) // whoever reads is slower than that
			}
			if err := c.tellStats(w.cg, o); err != nil {
				return err
			}
		}
	}
}

// tellStats tells the stats, unless they cannot be read: that the cgroup is gone
// shows in the wait.
func (c *Container) tellStats(cg *cgroups.Cgroup, o EventOptions) error {
	e, err := c.stats(cg)
	switch {
	case err == nil:
		return o.Tell(e)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV):
		discard(o.Log).Error(err.Error())
	}
	return nil
}

// lastKills returns the kills that whoever deleted the container has seen last.
func (w *watch) lastKills() (uint64, error) {
	n, err := state.ToldOOM(w.told)
	if err != nil {
		return 0, err
	}
	return w.oom.Told(n), nil
}

// eventsOfStopped tells what the OOM killer did, as long as the cgroup is there.
func (c *Container) eventsOfStopped(cg *cgroups.Cgroup, tell func(*Event) error) error {
	kills, err := cg.OOMKills()
	if err != nil {
		return fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	if kills == 0 {
		return c.notRunning()
	}
	return tell(&Event{Type: EventOOM, ID: c.rec.ID})
}
