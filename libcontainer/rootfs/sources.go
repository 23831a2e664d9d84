package rootfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Runtime does for init what takes rights over the host. Init asks it only for
// what it cannot do itself.
type Runtime interface {
	// Open returns what Plan.OpenSource does of this mount, for the caller to
	// close.
	Open(mount int) (fd int, err error)
	// Map gives the detached tree the ids of this mount, as Plan.MapIDs does.
	Map(mount, tree int) error
}

// RootSource stands for the root filesystem where else is the index of a mount.
const RootSource = -1

// OpenSource opens the source of Mounts[mount], or Rootfs for RootSource, with
// O_PATH, by the rights of the caller, which is the runtime: container root may
// not have the right to reach it (user_namespaces(7): over the host's
// directories it has that of any user). root is the root directory of init,
// whose mount namespace has the mounts that are made already: the source may
// lie below one of them. It is looked up from there, so that the caller joins
// no namespace; the price is that it cannot lead through one of the links of
// /proc that are no paths.
func (p *Plan) OpenSource(root, mount int) (int, error) {
	if mount == RootSource {
		return openRootfsIn(root, p)
	}
	if mount < 0 || mount >= len(p.Mounts) {
		return -1, fmt.Errorf("mounts[%d] does not exist", mount)
	}
	m := &p.Mounts[mount]
	source := m.Source
	if m.Kind != Bind {
		source = m.Fallback
	}
	if source == "" {
		return -1, fmt.Errorf("%s: has no source on the host", m)
	}
	fd, err := linux.OpenInRoot(root, source, unix.O_PATH, 0)
	if err == unix.ELOOP {
		return -1, fmt.Errorf("%s: open source %s: %w (a loop of symlinks, or a link of /proc that is no path)", m, source, err)
	}
	if err != nil {
		return -1, fmt.Errorf("%s: open source %s: %w", m, source, err)
	}
	return fd, nil
}

// cloneSource returns a detached copy of the tree at source, that of the mount
// with this index. What init may not reach, the runtime opens; the copy is
// made here in any case: of a mount of this namespace, with its locked flags.
func (r *Root) cloneSource(mount int, source string, recursive bool) (int, error) {
	tree, err := linux.CloneTree(unix.AT_FDCWD, source, recursive)
	if err == unix.EACCES && r.plan.AskSources {
		var fd int
		if fd, err = r.runtime.Open(mount); err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		tree, err = linux.CloneTree(fd, "", recursive)
	}
	if err == unix.EINVAL && !recursive && r.plan.BindDevices {
		return -1, fmt.Errorf("open source %s: %w (is it, or is it below, an unbindable mount? in a user namespace only rbind can bind one with mounts below it)", source, err)
	}
	if err == unix.EINVAL {
		return -1, fmt.Errorf("open source %s: %w (is it, or is it below, an unbindable mount?)", source, err)
	}
	if err != nil {
		return -1, fmt.Errorf("open source %s: %w", source, linux.NeedsKernel("5.12", err))
	}
	return tree, nil
}

// openPlace opens the directory that is to be the root filesystem.
func openPlace(p *Plan, rt Runtime) (int, error) {
	fd, err := openRootfs(p)
	if p.AskSources && errors.Is(err, unix.EACCES) {
		return rt.Open(RootSource)
	}
	return fd, err
}
