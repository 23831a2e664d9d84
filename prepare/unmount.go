package prepare

import (
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Unmount takes one mount back; the last one unmounts, unless the container
// runs. With force neither matters. A container that is not mounted is a warning.
func (p *Preparer) Unmount(ref string, force bool) error {
	return p.takeBack(ref, unmounting{all: force, running: force})
}

// unmounting is how a mount is taken back.
type unmounting struct {
	by      *store.Process // who has held it; nil: one of the count
	all     bool           // the count does not matter
	running bool           // it does not matter whether the container runs
}

func (p *Preparer) takeBack(ref string, how unmounting) error {
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return err
	}
	lock, err := p.Store.LockContainer(c.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := p.unmount(c, how); err != nil {
		return fmt.Errorf("unmount container %q: %w", c.Name, err)
	}
	return nil
}

// unmount is takeBack for a container that is locked.
func (p *Preparer) unmount(c *store.Container, how unmounting) error {
	m, err := p.Store.ReadMounts(c.ID)
	if err != nil {
		return err
	}
	mounted, err := mountinfo.Mounted(p.rootfs(c))
	if err != nil {
		return err
	}
	if !mounted && !how.all {
		p.Log.Warn("the container is not mounted", "container", c.Name)
	}
	m.Take(how.by)
	if mounted && m.Total() > 0 && !how.all {
		return p.Store.WriteMounts(c.ID, m)
	}
	pid, err := p.process(c)
	switch {
	case err != nil:
		return err
	case pid != 0 && how.by != nil:
		// It has been started meanwhile, and is one that counts.
		return p.count(c, m, nil)
	case pid != 0 && !how.running:
		return fmt.Errorf("%w: process %d; stop it first, or use force", ErrRunning, pid)
	}
	left := store.Mounts{}
	if pid != 0 {
		left.Root = m.Root // by which it is still recognised
		if mounted {
			if left.Root, err = store.StatFile(p.rootfs(c)); err != nil {
				return err
			}
		}
	}
	if err := p.clear(c); err != nil {
		return err
	}
	if err := p.Store.WriteMounts(c.ID, left); err != nil {
		return err
	}
	if !c.Writable || !c.Ephemeral || pid != 0 { // what runs keeps its files: the next mount empties them
		return nil
	}
	own, err := os.Open(p.Store.ContainerDir(c.ID))
	if err != nil {
		return err
	}
	defer own.Close()
	return p.emptyUpper(own)
}
