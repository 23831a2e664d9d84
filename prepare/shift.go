// shift.go: the layers of a container that has a user namespace.

package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/overlay"
	"github.com/gourd-oci/gourd/prepare/store"
)

// shifted is a copy of a container's layers that belongs to the ids of its user
// namespace.
func (p *Preparer) shifted(c *store.Container) string { return p.Store.ContainerDir(c.ID) + "/shifted" }

// mountWithIDs mounts a new container. Where the kernel cannot map the ids of
// its layers, they are copied.
func (p *Preparer) mountWithIDs(ctx context.Context, c *store.Container, how string) error {
	switch how {
	case "", IDsMapped, IDsCopied:
	default:
		return fmt.Errorf("ids %q: they are %s or %s", how, IDsMapped, IDsCopied)
	}
	if len(c.UIDMappings) == 0 {
		return p.mount(c, nil)
	}
	if how != IDsCopied {
		err := p.mount(c, nil)
		if err == nil || how == IDsMapped || !cannotMap(err) {
			return err
		}
		p.Log.Warn("the ids of the layers cannot be mapped here: they are copied", "container", c.Name, "error", err)
	}
	if c.Rootfs != "" {
		return errors.New("a root filesystem of one's own is not copied for a user namespace")
	}
	if err := p.shift(ctx, c); err != nil {
		return fmt.Errorf("copy the layers for the user namespace: %w", err)
	}
	changed, err := p.Store.ChangeContainer(c.ID, func(c *store.Container) error { c.Chowned = true; return nil })
	if err != nil {
		return err
	}
	*c = *changed
	return p.mount(c, nil)
}

// cannotMap tells whether an error is that of a kernel or file system that
// cannot map ids.
func cannotMap(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// shift makes the copy. It is made beside its place: one that was begun is made
// anew.
func (p *Preparer) shift(ctx context.Context, c *store.Container) error {
	lowers, err := p.lowers(c)
	defer closeAll(lowers)
	if err != nil {
		return err
	}
	from := lowers[0].File
	if len(lowers) > 1 {
		at := p.merged(c)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		dir, err := openPath(at)
		if err != nil {
			return err
		}
		defer dir.Close()
		s := overlay.Stack{Lowers: overlay.Files(lowers), UserXattr: p.Store.Overlay == layer.User}
		if err := s.Mount(dir); err != nil {
			return err
		}
		defer unmountAll(at)
		if from, err = openPath(at); err != nil {
			return err
		}
		defer from.Close()
	}
	own, err := openPath(p.Store.ContainerDir(c.ID))
	if err != nil {
		return err
	}
	defer own.Close()
	if err := linux.RemoveTree(int(own.Fd()), "shifted"); err != nil {
		return err
	}
	if err := unix.Mkdirat(int(own.Fd()), "shifted", 0o755); err != nil {
		return err
	}
	to, err := openPath(p.shifted(c))
	if err != nil {
		return err
	}
	defer to.Close()
	if err := layer.Copy(ctx, from, to, layer.PackOptions{IDs: hostIDs(c)}); err != nil {
		return err
	}
	if !c.Writable {
		return nil
	}
	// The writable layer's root is the container's root.
	upper, err := p.openUpper(c)
	if err != nil {
		return err
	}
	defer upper.Close()
	return layer.CopyAttributes(to, upper, nil)
}
