// halfmade.go: containers that a create has left which was killed.

package prepare

import (
	"os"

	"github.com/gourd-oci/gourd/prepare/store"
)

// halfMade tells whether a container has been left by a Create that was killed:
// it has no config, nobody holds its lock, and it does not run.
func (p *Preparer) halfMade(c *store.Container) (*store.Lock, bool, error) {
	if _, err := os.Lstat(p.Store.Bundle(c.ID) + "/config.json"); err == nil {
		return nil, false, nil
	}
	lock, ok, err := p.Store.TryLockContainer(c.ID)
	if err != nil || !ok {
		return nil, false, err
	}
	pid, err := p.process(c)
	if _, cerr := os.Lstat(p.Store.Bundle(c.ID) + "/config.json"); err != nil || cerr == nil || pid != 0 {
		lock.Unlock()
		return nil, false, err
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
