package rootfs

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// joinsMounts is whether the container joins a mount namespace instead of
// getting one. Then root.path is a path in that one, whose root it may well
// be, and what is mounted there is not touched: it belongs to the processes
// that live in it, and a pivot_root would move the root under their feet.
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

// refuseInJoined adds a defect for everything that would change the joined
// mount namespace for those who live in it, and would outlast the container.
func refuseInJoined(s *specs.Spec, d *defect.List) {
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
			d.Add(p.path, "the mount namespace is joined (linux.namespaces), and its mounts are not this container's to change")
		}
	}
}

// enterJoined makes root.path the root of this process alone.
func (r *Root) enterJoined() error {
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("chdir to the container's root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to root.path %s: %w", r.plan.Rootfs, err)
	}
	return nil
}
