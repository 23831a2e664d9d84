// Package libcontainer is the lifecycle of a container: Create, Start, State,
// Kill, Delete, Run, Exec, each in a file of its own as one list of steps. It
// orchestrates; the mechanisms are in the packages below it. It does not
// parse flags, print, or decide exit codes.
package libcontainer

import (
	"errors"
	"fmt"
	"log/slog"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/resctrl"
)

// Container is a container that has a state directory and a record in it.
// It must be closed.
type Container struct {
	dir  *state.Dir
	rec  *state.Record
	kept kept
}

// kept is what create knew of the config and the later verbs need: the config
// itself is not read again, for it may have changed.
type kept struct {
	Cgroup     cgroups.Record  // the cgroup that gourd made or took
	Resctrl    *resctrl.Record `json:",omitempty"` // its group in resctrl; nil: none
	PrivatePID bool            // the container has its own pid namespace
	Hooks      laterHooks
	Shared     *sharedMounts `json:",omitempty"` // nil: its mounts are its own
}

// laterHooks are the hooks that run after create.
type laterHooks struct {
	Prestart       []hooks.Hook `json:",omitempty"` // only of specs where they run in start
	Poststart      []hooks.Hook `json:",omitempty"`
	PoststartFatal bool         `json:",omitempty"`
	Poststop       []hooks.Hook `json:",omitempty"`
}

// Load opens an existing container. For an id that does not exist the error
// is state.ErrNotExist, and its text says so in the words that engines match.
func Load(root, id string) (*Container, error) {
	dir, err := state.Open(root, id)
	if err != nil {
		return nil, err
	}
	c := &Container{dir: dir}
	if err := c.load(); err != nil {
		dir.Close()
		return nil, err
	}
	return c, nil
}

// load reads the record, again if it was read before.
func (c *Container) load() error {
	rec, err := c.dir.Load()
	if err != nil {
		return err
	}
	c.rec, c.kept = rec, kept{}
	if len(rec.Plan) == 0 {
		return nil
	}
	if err := spec.DecodeInto(rec.Plan, &c.kept); err != nil {
		return fmt.Errorf("container %q: read its record: %w", rec.ID, spec.In("plan", err))
	}
	return nil
}

// hookState is the container's state as hooks get it.
func (c *Container) hookState() plan.State {
	return plan.State{
		OCIVersion: c.rec.OCIVersion, ID: c.rec.ID, Bundle: c.rec.Bundle, Annotations: plan.Annotations(c.rec.Annotations),
	}
}

// Close closes the state directory; the container goes on.
func (c *Container) Close() error { return c.dir.Close() }

// Status derives what the container is doing now.
func (c *Container) Status() (state.Status, error) {
	defer trace.Begin("derive the status").End()
	return c.dir.Status(c.rec, c.frozen)
}

// frozen is whether the container's cgroup is frozen; one that is gone is not.
func (c *Container) frozen() (bool, error) {
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return false, err
	}
	defer cg.Close()
	return cg.Frozen()
}

// keepFDs marks whatever the caller leaked into gourd close-on-exec, so that no
// hook gets it; --preserve-fds are meant for the container's process alone.
func keepFDs() error {
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("mark the inherited fds close-on-exec: %w", err)
	}
	return nil
}

// runHooks runs one phase's hooks on the runtime's side, in the bundle, as other
// runtimes do.
func runHooks(phase string, hs []hooks.Hook, st plan.State, status specs.ContainerState, pid int) error {
	if len(hs) == 0 {
		return nil
	}
	if err := keepFDs(); err != nil {
		return err
	}
	return hooks.Site{Dir: st.Bundle}.Run(phase, hs, st.JSON(status, pid))
}

// poststop runs the poststop hooks, every one of them: one that fails is
// logged and the rest run all the same (config.md, "Posix-platform Hooks").
func poststop(hs []hooks.Hook, st plan.State, log *slog.Logger) {
	if len(hs) == 0 {
		return
	}
	if err := keepFDs(); err != nil {
		log.Warn(err.Error())
		return
	}
	doc := st.JSON(specs.StateStopped, 0)
	for i := range hs {
		if err := (hooks.Site{Dir: st.Bundle}).Run("poststop", hs[i:i+1], doc); err != nil {
			log.Warn(err.Error())
		}
	}
}

// discard is for verbs that were given no logger.
func discard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// ErrNotRunning is the error of an operation that needs a live container; its
// text is one that engines match on.
var ErrNotRunning = errors.New("container not running")
