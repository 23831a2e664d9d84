package rootfs

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// IDMap says how the ids of a mount are mapped: a file of ContainerID in its
// filesystem is one of HostID in the mount, as the runtime sees ids.
type IDMap struct {
	UIDs, GIDs []specs.LinuxIDMapping // both empty: those of the container's user namespace
	Recursive  bool                   // for the mounts below, too
}

// compileIDMap turns uidMappings, gidMappings, idmap and ridmap of a mount into
// an IDMap. That the mappings themselves are good is spec.Check's.
func compileIDMap(m *Mount, s *specs.Mount, o *optionSet, e *Env, d *defect.List) *IDMap {
	given := len(s.UIDMappings) > 0 || len(s.GIDMappings) > 0
	if !given && o.idmap == "" {
		return nil
	}
	where := m.Where + ".uidMappings"
	if o.idmap != "" {
		where = index(m.Where+".options", o.idmapAt)
	}
	switch {
	case o.remount:
		d.Add(where, "the ids of a mount are mapped when it is made, and not by a remount")
	case e.Unprivileged:
		d.Add(where, "mapping the ids of a mount takes root (CAP_SYS_ADMIN over the user namespace of its filesystem)")
	case given && len(s.UIDMappings) == 0:
		d.Add(m.Where+".uidMappings", "missing: gidMappings are given")
	case given && len(s.GIDMappings) == 0:
		d.Add(m.Where+".gidMappings", "missing: uidMappings are given")
	case !given && !e.NewUserNS:
		d.Add(where, "%s: there are neither uidMappings and gidMappings nor a user namespace of the container's to take them from", o.idmap)
	}
	return &IDMap{UIDs: s.UIDMappings, GIDs: s.GIDMappings, Recursive: o.idmap == "ridmap"}
}

// MapIDs gives the detached tree the ids of Mounts[mount]: those of the user
// namespace userns (mount_setattr(2), Linux 5.12). The kernel wants
// CAP_SYS_ADMIN over the user namespace that the filesystem belongs to, for a
// bind mount the host's: so it is the runtime that calls this.
func (p *Plan) MapIDs(mount, tree, userns int) error {
	m := &p.Mounts[mount]
	err := linux.MapMountIDs(tree, m.IDMap.Recursive, userns)
	switch err {
	case nil:
		return nil
	case unix.EINVAL:
		err = fmt.Errorf("%w (its filesystem cannot be mapped, not by this kernel, or not by the user namespace that it belongs to)", err)
	case unix.EPERM:
		err = fmt.Errorf("%w (that takes CAP_SYS_ADMIN over the user namespace of its filesystem, which must be another than the mapping's, and a mount that is not mapped already)", err)
	}
	return fmt.Errorf("%s: map the ids of the mount: %w", m, linux.NeedsKernel("5.12", err))
}

// mapIDs has the runtime map the ids of the detached tree, if that is wanted.
func (r *Root) mapIDs(mount int, m *Mount, tree int) error {
	if m.IDMap == nil {
		return nil
	}
	return r.runtime.Map(mount, tree)
}
