package cgroups

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// unused.go: what is valid, and has no effect.

// Unused adds a defect for each property of linux.resources that is set and
// does nothing: what only cgroup v1 has, with a value that engines send for
// "unset". Other values of these are Compile's defects already; and where a 0
// stands for "unset" of what cgroup v2 has, it asks for nothing.
func Unused(r *specs.LinuxResources, d *defect.List) {
	if r == nil {
		return
	}
	u := unused{d}
	if m := r.Memory; m != nil {
		const at = "linux.resources.memory."
		//lint:ignore SA1019 what is deprecated is ignored, too
		u.v1(at+"kernel", m.Kernel != nil && *m.Kernel <= 0)
		u.v1(at+"kernelTCP", m.KernelTCP != nil && *m.KernelTCP <= 0)
		u.v1(at+"swappiness", m.Swappiness != nil && (*m.Swappiness == 0 || *m.Swappiness == ^uint64(0)))
		u.v1(at+"disableOOMKiller", m.DisableOOMKiller != nil && !*m.DisableOOMKiller)
		u.v1(at+"useHierarchy", m.UseHierarchy != nil)
	}
	if c := r.CPU; c != nil {
		const at = "linux.resources.cpu."
		u.v1(at+"realtimeRuntime", c.RealtimeRuntime != nil && (*c.RealtimeRuntime == 0 || *c.RealtimeRuntime == -1))
		u.v1(at+"realtimePeriod", c.RealtimePeriod != nil && *c.RealtimePeriod == 0)
	}
	if b := r.BlockIO; b != nil {
		const at = "linux.resources.blockIO."
		u.v1(at+"leafWeight", b.LeafWeight != nil && *b.LeafWeight == 0)
		for i, w := range b.WeightDevice {
			u.v1(at+"weightDevice["+strconv.Itoa(i)+"].leafWeight", w.LeafWeight != nil && *w.LeafWeight == 0)
		}
	}
	if n := r.Network; n != nil {
		u.v1("linux.resources.network.classID", n.ClassID != nil && *n.ClassID == 0)
	}
}

type unused struct{ d *defect.List }

func (u unused) v1(path string, is bool) {
	if is {
		u.d.Add(path, "ignored: cgroup v2 has no such setting, and this value is taken for unset")
	}
}

// unusedIn adds, for a strict config, a defect for each property that this
// plan has no use for.
func (p *Plan) unusedIn(r *specs.LinuxResources, e *Env, d *defect.List) {
	if p.Manager == ManagerNone {
		if len(r.Devices) > 0 {
			d.Add(devicesFrom, "ignored: the container has no cgroup")
		}
		if e.CgroupsPath != "" {
			d.Add("linux.cgroupsPath", "ignored: the container has no cgroup")
		}
	}
	if p.Manager != ManagerSystemd {
		for _, key := range slices.Sorted(maps.Keys(e.Annotations)) {
			if strings.HasPrefix(key, propertyPrefix) {
				d.Add("annotations."+key, "ignored: systemd does not make the cgroup (--systemd-cgroup)")
			}
		}
	}
}
