package prepare

import (
	"errors"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Tag gives a container or image a further name.
func (p *Preparer) Tag(ref, name string) error {
	c, err := p.Store.FindContainer(ref)
	if err == nil {
		_, err = p.Store.ChangeContainer(c.ID, func(c *store.Container) error {
			if !slices.Contains(c.Names, name) {
				c.Names = append(c.Names, name)
			}
			return nil
		})
		return err
	}
	use, uerr := p.Store.Use()
	if uerr != nil {
		return uerr
	}
	defer use.Unlock()
	i, ierr := p.Store.FindImage(ref)
	if ierr != nil {
		return errors.Join(err, ierr)
	}
	if base := name[strings.LastIndexByte(name, '/')+1:]; !strings.ContainsAny(base, ":@") {
		name += ":latest"
	}
	return p.Store.Tag(i.ID, name)
}
