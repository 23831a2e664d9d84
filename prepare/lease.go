package prepare

import (
	"errors"
	"os"

	"github.com/gourd-oci/gourd/prepare/lease"
	"github.com/gourd-oci/gourd/prepare/store"
)

// AddressAnnotation holds the address that a container has a lease of.
const AddressAnnotation = "org.gourd-oci.prepare.address"

func (p *Preparer) leases() lease.File { return lease.File{Path: p.Store.Root + "/leases"} }

// gone tells whether a container is not there any more. One that is being made
// is there: it gets its lease after it has its place.
func (p *Preparer) gone(id string) bool {
	_, err := os.Lstat(p.Store.ContainerDir(id))
	return errors.Is(err, os.ErrNotExist)
}

// lease gives a container an address, which goes into its metadata and
// annotations.
func (p *Preparer) lease(c *store.Container, o *CreateOptions) error {
	if !o.IPFrom.IsValid() {
		return nil
	}
	a, err := p.leases().Take(o.IPFrom, c.Name, c.ID, p.gone)
	if err != nil {
		return err
	}
	changed, err := p.Store.ChangeContainer(c.ID, func(c *store.Container) error { c.Address = a.String(); return nil })
	if err != nil {
		return err
	}
	*c = *changed
	annotations := map[string]string{AddressAnnotation: c.Address}
	for k, v := range o.Config.Annotations {
		annotations[k] = v
	}
	o.Config.Annotations = annotations
	return nil
}

// release gives a container's address back.
func (p *Preparer) release(c *store.Container) error {
	if c.Address == "" {
		// It may have been killed between the lease and its metadata.
		all, err := p.leases().All()
		if err != nil || len(all) == 0 {
			return err
		}
	}
	return p.leases().Release(func(id string) bool { return id == c.ID })
}
