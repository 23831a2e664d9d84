package prepare

import (
	"errors"
	"fmt"
	"os"

	"github.com/gourd-oci/gourd/prepare/store"
)

// ErrMounted says that a container is in use.
var ErrMounted = errors.New("it is mounted")

// Remove removes a container, with all that it has. One that is mounted is
// refused without force. One that is not there is removed already.
func (p *Preparer) Remove(ref string, force bool) error {
	use, err := p.Store.Use()
	if err != nil {
		return err
	}
	defer use.Unlock()
	c, err := p.Store.FindContainer(ref)
	if isNoContainer(err) {
		p.Log.Warn("the container is removed already", "container", ref)
		return nil
	}
	if err != nil {
		return err
	}
	lock, err := p.Store.LockContainer(c.ID)
	if isNoContainer(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	m, err := p.Store.ReadMounts(c.ID)
	if err != nil {
		return err
	}
	if m.Count > 0 && !force {
		return fmt.Errorf("remove container %q: %w; unmount it first, or use force", c.Name, ErrMounted)
	}
	if err := p.remove(c); err != nil {
		return fmt.Errorf("remove container %q: %w", c.Name, err)
	}
	return nil
}

// remove removes a container that is locked. Every step is done, and what
// fails is in the error.
func (p *Preparer) remove(c *store.Container) error {
	if err := p.clear(c); err != nil {
		return err // what is mounted must not be removed with it
	}
	// The address comes last: a container that is still there keeps it, and what
	// a kill leaves is the lease of one that is gone.
	return errors.Join(p.Store.RemoveContainer(c.ID), p.release(c))
}

// halfMade tells whether a container has been left by a Create that was killed:
// it has no config, and nobody holds its lock.
func (p *Preparer) halfMade(c *store.Container) (*store.Lock, bool, error) {
	if _, err := os.Lstat(p.Store.Bundle(c.ID) + "/config.json"); err == nil {
		return nil, false, nil
	}
	lock, ok, err := p.Store.TryLockContainer(c.ID)
	if err != nil || !ok {
		return nil, false, err
	}
	if _, err := os.Lstat(p.Store.Bundle(c.ID) + "/config.json"); err == nil {
		lock.Unlock()
		return nil, false, nil
	}
	return lock, true, nil
}

// dropHalfMade removes half-made containers that have one of the names.
func (p *Preparer) dropHalfMade(names []string) error {
	for _, n := range names {
		c, err := p.Store.FindContainer(n)
		if isNoContainer(err) {
			continue
		}
		if err != nil {
			return err
		}
		lock, half, err := p.halfMade(c)
		if err != nil {
			return err
		}
		if !half {
			continue
		}
		p.Log.Warn("a container that was never finished is removed", "container", c.Name)
		err = p.remove(c)
		lock.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
