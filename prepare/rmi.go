package prepare

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gourd-oci/gourd/prepare/store"
)

// ErrInUse says that containers are made of an image.
var ErrInUse = errors.New("a container is made of it")

// RemoveImage takes a name from an image; without names, or by id, it removes
// the image and the layers that nothing else has.
func (p *Preparer) RemoveImage(ref string, force bool) error {
	own, err := p.Store.Own()
	if err != nil {
		return err
	}
	defer own.Unlock()
	i, err := p.Store.FindImage(ref)
	if err != nil {
		return err
	}
	if name := nameOf(i, ref); name != "" && len(i.Names) > 1 && !force {
		_, err := p.Store.Untag(i.ID, name)
		return err
	}
	all, err := p.Store.Containers()
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.ImageID == i.ID && !force {
			return fmt.Errorf("remove image %q: %w: %s", ref, ErrInUse, c.Name)
		}
	}
	if err := p.Store.RemoveImage(i.ID); err != nil {
		return fmt.Errorf("remove image %q: %w", ref, err)
	}
	return p.dropLayers()
}

// nameOf is which name of an image ref means; "": it is the id.
func nameOf(i *store.Image, ref string) string {
	for _, n := range store.NameCandidates(ref) {
		if slices.Contains(i.Names, n) {
			return n
		}
	}
	return ""
}

// dropLayers removes the layers that no image and no container has. The store
// must be owned.
func (p *Preparer) dropLayers() error {
	unused, err := p.unusedLayers()
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range unused {
		errs = append(errs, p.Store.Discard(p.Store.LayerDir(k)))
	}
	return errors.Join(errs...)
}

// unusedLayers lists the layers that no image, but for those without, and no
// container has. The store must be owned: then what is there stays there.
func (p *Preparer) unusedLayers(without ...string) ([]string, error) {
	used := map[string]bool{}
	images, err := p.Store.Images()
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		if slices.Contains(without, i.ID.Encoded()) {
			continue
		}
		for _, k := range i.Layers {
			used[k] = true
		}
	}
	ids, err := p.Store.ContainerIDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		c, err := p.Store.Container(id)
		if err != nil {
			return nil, fmt.Errorf("which layers container %s has is not known (check --repair mends it): %w", id, err)
		}
		for _, k := range c.Layers {
			used[k] = true
		}
	}
	keys, err := p.Store.Layers()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(k string) bool { return used[k] }), nil
}
