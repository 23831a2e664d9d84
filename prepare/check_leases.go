package prepare

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/gourd-oci/gourd/prepare/lease"
)

// leases finds leases of containers that are gone.
func (c *checker) leases() error {
	all, err := c.p.leases().All()
	if err != nil {
		return c.found("leases", err.Error(), "none: the file must be looked at", nil)
	}
	var errs []error
	errs = append(errs, c.addresses(all))
	for _, l := range all {
		if !c.p.gone(l.ID) {
			continue
		}
		errs = append(errs, c.found("lease "+l.Address.String(), "its container "+l.Name+" is gone", "give it back", func() error {
			return c.p.leases().Release(func(id string) bool { return id == l.ID })
		}))
	}
	return errors.Join(errs...)
}

// addresses finds containers that have an address but no lease of it.
func (c *checker) addresses(all []lease.Lease) error {
	containers, err := c.p.Store.Containers()
	if err != nil {
		return err
	}
	var errs []error
	for _, ctr := range containers {
		has := func(l lease.Lease) bool { return l.ID == ctr.ID && l.Address.String() == ctr.Address }
		if ctr.Address == "" || slices.ContainsFunc(all, has) {
			continue
		}
		problem := "it has no lease of its address " + ctr.Address
		other := slices.IndexFunc(all, func(l lease.Lease) bool { return l.Address.String() == ctr.Address && !c.p.gone(l.ID) })
		if other >= 0 {
			errs = append(errs, c.found("container "+ctr.Name, problem+", which container "+all[other].Name+" has", "none: one of the two must be made anew", nil))
			continue
		}
		errs = append(errs, c.found("container "+ctr.Name, problem, "lease it", func() error {
			a, err := netip.ParseAddr(ctr.Address)
			if err != nil {
				return err
			}
			return c.p.leases().Claim(a, ctr.Name, ctr.ID, c.p.gone)
		}))
	}
	return errors.Join(errs...)
}
