package libcontainer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/cgroups/systemd"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// UpdateOptions is what the command line says of an update.
type UpdateOptions struct {
	// Resources is what is to change; what it does not name stays.
	Resources *specs.LinuxResources
	// L3CacheSchema and MemBwSchema are lines for the container's group in
	// resctrl; "" leaves what it has.
	L3CacheSchema, MemBwSchema string
	// Flag is the flag that Resources came with, "" if each limit has its own.
	// Name is what a JSON path of the config is called there. Errors say so.
	Flag string
	Name func(path string) string
	// Strict makes an error of everything that would be ignored. Raw is the
	// JSON that Resources was decoded from, and Ignored the other flags that are
	// not looked at, each with the reason.
	Strict  bool
	Raw     []byte
	Ignored defect.List
}

// Update changes the limits of a container that has not stopped: all of them,
// or none if one is refused.
//
// It takes no lock that start holds, so that a hook may call it, and changes
// nothing of the record.
func (c *Container) Update(ctx context.Context, o UpdateOptions) error {
	if err := c.mayUpdate(); err != nil {
		return err
	}
	lock, err := c.dir.LockUpdate()
	if err != nil {
		return err
	}
	defer lock.Close()
	old, err := c.loadResources()
	if err != nil {
		return err
	}
	o.Strict = o.Strict || plan.IsStrict(c.rec.Annotations)
	merged, changes, err := o.compile(old, c.kept.Cgroup)
	if err != nil {
		return err
	}
	lines, err := o.schemes()
	if err != nil {
		return err
	}
	back, err := c.updateGroup(lines)
	if err != nil {
		return fmt.Errorf("update container %q: %w", c.rec.ID, err)
	}
	if err := c.change(ctx, &changes); err != nil {
		err = errors.Join(err, back())
		if stopped := c.mayUpdate(); stopped != nil { // while it was at it
			return stopped
		}
		return fmt.Errorf("update container %q: %w", c.rec.ID, err)
	}
	return c.saveResources(merged)
}

// mayUpdate refuses a container that has no limits to change.
func (c *Container) mayUpdate() error {
	status, err := c.Status()
	switch {
	case err != nil:
		return err
	case status == state.Stopped:
		return fmt.Errorf("cannot update container %q: %w", c.rec.ID, ErrNotRunning)
	case status == state.Creating:
		// Create still has limits to write, which it knows from the config.
		return fmt.Errorf("cannot update container %q: it is being created", c.rec.ID)
	}
	return nil
}

// compile returns the resources with the change, and the plan to get there.
func (o *UpdateOptions) compile(old *specs.LinuxResources, rec cgroups.Record) (*specs.LinuxResources, cgroups.Changes, error) {
	var d defect.List
	merged, changes := cgroups.Update(old, o.Resources, cgroups.Env{
		Root:    rec.Root,
		Systemd: rec.Manager == cgroups.ManagerSystemd,
	}, &d)
	if o.Strict {
		cgroups.Unused(o.Resources, &d)
	}
	for i := range d {
		d[i].Path = o.Name(d[i].Path)
	}
	if o.Strict {
		if o.Raw != nil {
			spec.Skipped(o.Raw, new(specs.LinuxResources), "", &d)
		}
		d = append(d, o.Ignored...)
	}
	changes.Rename(func(from string) string {
		if o.Flag == "" {
			return o.Name(from)
		}
		return o.Flag + ": " + o.Name(from)
	})
	return merged, changes, spec.In(strings.TrimSpace("update "+o.Flag), d.Err())
}

// change carries the plan out.
func (c *Container) change(ctx context.Context, changes *cgroups.Changes) error {
	if changes.Empty() {
		return nil // also for a container without a cgroup
	}
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	if c.kept.Cgroup.Manager != cgroups.ManagerSystemd {
		return cg.Update(changes, nil)
	}
	m, err := systemd.Connect(ctx, c.kept.Cgroup.User)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Update(ctx, cg, changes)
}

// saveResources keeps the limits in force for the next update.
func (c *Container) saveResources(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	data, err := spec.Encode(r)
	if err != nil {
		return fmt.Errorf("container %q: encode its limits: %w", c.rec.ID, err)
	}
	return c.dir.SaveResources(data)
}

func (c *Container) loadResources() (*specs.LinuxResources, error) {
	r := new(specs.LinuxResources)
	data, err := c.dir.LoadResources()
	if err != nil || len(data) == 0 {
		return r, err
	}
	if err := spec.DecodeInto(data, r); err != nil {
		return nil, fmt.Errorf("container %q: its limits so far: %w", c.rec.ID, spec.In("resources", err))
	}
	return r, nil
}
