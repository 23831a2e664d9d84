package rootfs

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// A mount namespace is shared if the container joins one, or inherits gourd's
// because the config has none (config-linux.md, "Namespaces"). Its mounts are
// then made below root.path, where all who live there see them, and the
// container's root is changed for its own processes alone: a pivot_root would
// move the root under the others' feet. When the container is gone, whoever
// deletes it takes the mounts away, with the one on root.path.

// joinsMounts is whether the container joins a mount namespace.
func joinsMounts(s *specs.Spec) bool {
	if s.Linux == nil {
		return false
	}
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.MountNamespace {
			return ns.Path != ""
		}
	}
	return false
}

// refuseInWhole adds a defect for everything that would change the joined
// mount namespace when root.path is all of it: for those who live in it, and
// for longer than the container lives.
func refuseInWhole(s *specs.Spec, d *defect.List) {
	for _, p := range []struct {
		asked bool
		path  string
	}{
		{len(s.Mounts) > 0, "mounts"},
		{s.Root != nil && s.Root.Readonly, "root.readonly"},
		{len(s.Linux.Devices) > 0, "linux.devices"},
		{len(s.Linux.MaskedPaths) > 0, "linux.maskedPaths"},
		{len(s.Linux.ReadonlyPaths) > 0, "linux.readonlyPaths"},
		{s.Linux.RootfsPropagation != "", "linux.rootfsPropagation"},
		{s.Linux.MountLabel != "", "linux.mountLabel"},
	} {
		if p.asked {
			d.Add(p.path, "the mount namespace is joined (linux.namespaces) and root.path is its root, which is not this container's to change")
		}
	}
}

// enterShared makes root.path the root of this process alone.
func (r *Root) enterShared() error {
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("chdir to the container's root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to root.path %s: %w", r.plan.Rootfs, err)
	}
	return nil
}
