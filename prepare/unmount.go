package prepare

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Unmount takes one mount back; the last one unmounts. With force the count
// does not matter. A container that is not mounted is a warning.
func (p *Preparer) Unmount(ref string, force bool) error {
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	lock, err := p.Store.LockContainer(c.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := p.unmount(c, force); err != nil {
		return fmt.Errorf("unmount container %q: %w", c.Name, err)
	}
	return nil
}

// unmount is Unmount for a container that is locked.
func (p *Preparer) unmount(c *store.Container, force bool) error {
	m, err := p.Store.ReadMounts(c.ID)
	if err != nil {
		return err
	}
	mounted, err := mountinfo.Mounted(p.rootfs(c))
	if err != nil {
		return err
	}
	if !mounted && !force {
		p.Log.Warn("the container is not mounted", "container", c.Name)
	}
	if mounted && m.Count > 1 && !force {
		m.Count--
		return p.Store.WriteMounts(c.ID, m)
	}
	if err := p.clear(c); err != nil {
		return err
	}
	if err := p.Store.WriteMounts(c.ID, store.Mounts{}); err != nil {
		return err
	}
	if !c.Writable || !c.Ephemeral {
		return nil
	}
	own, err := os.Open(p.Store.ContainerDir(c.ID))
	if err != nil {
		return err
	}
	defer own.Close()
	return p.emptyUpper(own)
}

// isNoContainer tells whether an error says that a container is not there.
func isNoContainer(err error) bool { return errors.Is(err, store.ErrNoContainer) }
