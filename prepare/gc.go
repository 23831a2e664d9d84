package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Garbage is what GC has removed or would remove.
type Garbage struct {
	Layers []string `json:"layers"`
	Images []string `json:"images"`
	Temp   int      `json:"temporary"`
	Locks  int      `json:"locks"`
	Bytes  int64    `json:"bytes"`
}

// GC removes what nothing refers to: layers of no image and no container, what
// was being made when its process ended, and with images those that have no
// name and no container.
func (p *Preparer) GC(images, dry bool) (*Garbage, error) {
	own, err := p.Store.Own()
	if err != nil {
		return nil, err
	}
	defer own.Unlock()
	g := &Garbage{Layers: []string{}, Images: []string{}}
	if images {
		if err := p.gcImages(g, dry); err != nil {
			return g, err
		}
	}
	if g.Layers, err = p.unusedLayers(g.Images...); err != nil {
		return g, err
	}
	if g.Layers == nil {
		g.Layers = []string{}
	}
	for _, k := range g.Layers {
		if l, err := p.Store.Layer(k); err == nil {
			g.Bytes += l.Size
		}
		if !dry {
			if err := p.Store.Discard(p.Store.LayerDir(k)); err != nil {
				return g, err
			}
		}
	}
	tmp, err := os.ReadDir(p.Store.Root + "/tmp")
	if err != nil {
		return g, err
	}
	g.Temp = len(tmp)
	// Whoever takes the lock of a layer uses the store: nobody does.
	locks, err := filepath.Glob(p.Store.Root + "/locks/layer-*")
	if err != nil {
		return g, err
	}
	g.Locks = len(locks)
	if dry {
		return g, nil
	}
	var errs []error
	for _, e := range tmp {
		errs = append(errs, p.Store.Discard(p.Store.Root+"/tmp/"+e.Name()))
	}
	for _, l := range locks {
		errs = append(errs, os.Remove(l))
	}
	return g, errors.Join(errs...)
}

func (p *Preparer) gcImages(g *Garbage, dry bool) error {
	all, err := p.Store.Images()
	if err != nil {
		return err
	}
	containers, err := p.Store.Containers()
	if err != nil {
		return err
	}
	for _, i := range all {
		if len(i.Names) > 0 || slices.ContainsFunc(containers, func(c store.Container) bool { return c.ImageID == i.ID }) {
			continue
		}
		g.Images = append(g.Images, i.ID.Encoded())
		if !dry {
			if err := p.Store.RemoveImage(i.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
