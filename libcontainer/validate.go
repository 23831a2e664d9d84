package libcontainer

import (
	"errors"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/doctor"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/landlock"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

// Validation is what Validate has found.
type Validation struct {
	Bundle string
	// Defects are what is wrong with the config, whatever the host.
	Defects defect.List
	// Host is what this host, or this user on it, does not give.
	Host defect.List
	// Warnings are what a create would warn of.
	Warnings []string
}

// OK is whether nothing was found that would fail a create.
func (v *Validation) OK() bool { return len(v.Defects) == 0 && len(v.Host) == 0 }

// Validate checks a bundle as Create would, and looks at what Create would
// find out only on its way. Nothing is made that stays. p is executed in
// namespaces, to see whether they can be made. Its error is of a bundle that
// cannot be read at all.
func Validate(o CreateOptions, p doctor.Program) (*Validation, error) {
	v := &Validation{Bundle: o.Bundle}
	b, err := spec.Load(o.Bundle)
	var bad *defect.Error
	var syntax *spec.SyntaxError
	switch {
	case errors.As(err, &bad):
		v.Defects = bad.Defects
		return v, nil
	case errors.As(err, &syntax):
		v.Defects.Add(spec.ConfigName, "%s", strings.TrimPrefix(syntax.Error(), spec.ConfigName+": "))
		return v, nil
	case err != nil:
		return nil, err
	}
	v.Bundle = b.Dir

	// What is wrong everywhere is wrong for root of a host that has it all.
	facts, err := host.Probe()
	if err != nil {
		return nil, err
	}
	best := host.Facts{InitialUserNS: true, Bounding: ^uint64(0), LastCap: facts.LastCap, AppArmor: true, SELinux: true, Landlock: landlock.MaxABI}
	po := plan.Options{ID: o.ID, CgroupManager: o.CgroupManager, CgroupRoot: "/sys/fs/cgroup", CgroupOwn: "/user/gourd", Resctrl: "/sys/fs/resctrl", Strict: o.Strict}
	ideal, err := build(b, &best, po, &v.Defects)
	if err != nil {
		return nil, err
	}

	askSELinux(facts, b.Spec)
	po.CgroupRoot, po.CgroupOwn, po.Rootless = "", "", o.Rootless
	if o.CgroupManager != "disabled" {
		if po.CgroupRoot, po.CgroupOwn, err = cgroups.Find(); err != nil {
			return nil, err
		}
	}
	if po.Resctrl, err = findResctrl(b.Spec); err != nil {
		return nil, err
	}
	if po.HostNamespaces, err = joinsOwn(b.Spec); err != nil {
		return nil, err
	}
	var here defect.List
	real, err := build(b, facts, po, &here)
	if err != nil {
		return nil, err
	}
	for _, d := range here {
		if !slices.Contains(v.Defects, d) {
			v.Host = append(v.Host, d)
		}
	}
	if real != nil {
		v.Warnings = real.Warnings
	}
	h := hostCheck{bundle: b, program: p, options: &po, uid: facts.EUID, d: &v.Host}
	h.namespaces()
	h.mounts()
	h.hooks()
	h.netDevices(real)
	h.resctrl(real)
	if ideal != nil {
		h.executable(ideal)
		h.idMaps(ideal)
		h.sysctls(ideal)
		h.seccomp(ideal)
		h.memoryPolicy(ideal)
		h.limits()
		h.cgroup()
	}
	return v, nil
}

// build builds a plan and appends the config's defects to d; the plan is nil if
// there are any.
func build(b *spec.Bundle, f *host.Facts, o plan.Options, d *defect.List) (*plan.Plan, error) {
	p, err := plan.Build(b, f, o)
	var bad *defect.Error
	if errors.As(err, &bad) {
		*d = append(*d, bad.Defects...)
		return nil, nil
	}
	return p, err
}
