package prepare

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// Export writes a container's root filesystem as a tar. It is mounted for that
// if it is not.
func (p *Preparer) Export(ctx context.Context, ref string, w io.Writer) error {
	return p.withRootfs(ref, func(c *store.Container, root *os.File) error {
		sum, err := layer.Pack(ctx, w, root, layer.PackOptions{Root: true, IDs: containerIDs(c)})
		if err != nil {
			return fmt.Errorf("export container %q: %w", c.Name, err)
		}
		if sum.Sockets > 0 {
			p.Log.Warn("sockets are not exported: a tar has none", "container", c.Name, "sockets", sum.Sockets)
		}
		return nil
	})
}

// withRootfs calls f with a container's mounted root filesystem, which stays
// mounted for this process alone.
func (p *Preparer) withRootfs(ref string, f func(c *store.Container, root *os.File) error) (err error) {
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	self, err := store.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := p.mountFor(c, &self); err != nil {
		return err
	}
	defer func() {
		if uerr := p.takeBack(c.ID, unmounting{by: &self}); err == nil {
			err = uerr
		}
	}()
	root, err := openPath(p.rootfs(c))
	if err != nil {
		return err
	}
	defer root.Close()
	return f(c, root)
}
