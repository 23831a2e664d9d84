package prepare

import (
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Refreshed is what Refresh says of a container.
type Refreshed struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Ready bool   `json:"ready"` // it can be mounted
	Error string `json:"error,omitempty"`
}

// Refresh brings the containers back after a reboot: their run directories,
// counts and files are made anew. They are not mounted.
func (p *Preparer) Refresh() ([]Refreshed, error) {
	all, err := p.Store.Containers()
	if err != nil {
		return nil, err
	}
	out := []Refreshed{}
	for i := range all {
		r := Refreshed{Name: all[i].Name, ID: all[i].ID}
		if err := p.refresh(&all[i]); err != nil {
			r.Error = err.Error()
		} else {
			r.Ready = true
		}
		out = append(out, r)
	}
	return out, nil
}

func (p *Preparer) refresh(c *store.Container) error {
	lock, err := p.Store.LockContainer(c.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, err := os.Lstat(p.Store.Bundle(c.ID) + "/config.json"); err != nil {
		return err
	}
	for _, k := range c.Layers {
		if _, err := p.Store.Layer(k); err != nil {
			return fmt.Errorf("layer %s: %w", k, err)
		}
	}
	mounted, err := mountinfo.Mounted(p.rootfs(c))
	if err != nil {
		return err
	}
	m, err := p.Store.ReadMounts(c.ID)
	if err == nil && mounted && m.Total() > 0 {
		return nil // it is up
	}
	if err := p.refuseRunning(c); err != nil {
		return err
	}
	if err := p.clear(c); err != nil {
		return err
	}
	if err := p.writeFiles(c); err != nil {
		return err
	}
	return p.Store.WriteMounts(c.ID, store.Mounts{})
}
