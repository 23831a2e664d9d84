package spec

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// maxMappings is how many lines a uid_map may have (user_namespaces(7), since
// Linux 4.15).
const maxMappings = 340

// namespaces is linux.namespaces without the entries that are defects.
type namespaces []specs.LinuxNamespace

// of returns the entry of a type, or nil when the container stays in gourd's.
func (n namespaces) of(t specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i := range n {
		if n[i].Type == t {
			return &n[i]
		}
	}
	return nil
}

// isNew returns whether a namespace of the type is made for the container.
func (n namespaces) isNew(t specs.LinuxNamespaceType) bool {
	ns := n.of(t)
	return ns != nil && ns.Path == ""
}

func knownNamespace(t specs.LinuxNamespaceType) bool {
	switch t {
	case specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
		specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace:
		return true
	}
	return false
}

// checkNamespaces checks each entry by itself and returns the good ones. That
// a path stands for a namespace of its type shows when it is joined.
func checkNamespaces(list []specs.LinuxNamespace, d *defect.List) namespaces {
	var good namespaces
	for i, ns := range list {
		path := fmt.Sprintf("linux.namespaces[%d]", i)
		switch {
		case !knownNamespace(ns.Type):
			d.Add(path+".type", "%q is not a type of namespace", string(ns.Type))
			continue
		case good.of(ns.Type) != nil:
			d.Add(path+".type", "there is a %s namespace already", ns.Type)
			continue
		case ns.Path != "" && !filepath.IsAbs(ns.Path):
			d.Add(path+".path", "%q is not an absolute path", ns.Path)
		case strings.IndexByte(ns.Path, 0) >= 0:
			d.Add(path+".path", "%q has a NUL byte in it", ns.Path)
		}
		good = append(good, ns)
	}
	if good.of(specs.MountNamespace) == nil && good.of(specs.UserNamespace) != nil {
		// The one that is inherited belongs to another user namespace.
		d.Add("linux.namespaces", "there is a user namespace and no mount namespace; root of the one may mount nothing without the other")
	}
	return good
}

// checkUserNS checks that id mappings are given for a user namespace that is
// made, and for no namespace but a user namespace, and that the kernel takes
// them (user_namespaces(7)). Those of one that is joined must be its own, which
// shows when it is joined: engines send both.
func checkUserNS(l *specs.Linux, n namespaces, d *defect.List) {
	for _, m := range []struct {
		path string
		list []specs.LinuxIDMapping
	}{
		{"linux.uidMappings", l.UIDMappings},
		{"linux.gidMappings", l.GIDMappings},
	} {
		switch {
		case n.isNew(specs.UserNamespace):
			if len(m.list) == 0 {
				d.Add(m.path, "missing: a new user namespace needs it")
			}
			checkMappings(m.path, m.list, d)
		case n.of(specs.UserNamespace) != nil:
			checkMappings(m.path, m.list, d)
		case len(m.list) > 0:
			d.Add(m.path, "linux.namespaces has no user namespace to map ids for")
		}
	}
}

// checkMountMappings checks the lines of the maps of mounts. What mounts may
// have one is package rootfs's.
func checkMountMappings(mounts []specs.Mount, d *defect.List) {
	for i := range mounts {
		if m := &mounts[i]; len(m.UIDMappings) > 0 || len(m.GIDMappings) > 0 {
			checkMappings(fmt.Sprintf("mounts[%d].uidMappings", i), m.UIDMappings, d)
			checkMappings(fmt.Sprintf("mounts[%d].gidMappings", i), m.GIDMappings, d)
		}
	}
}

// checkMappings checks the lines of one map.
func checkMappings(path string, list []specs.LinuxIDMapping, d *defect.List) {
	if len(list) > maxMappings {
		d.Add(path, "%d mappings are more than the kernel takes, %d", len(list), maxMappings)
		return // and do not compare them all with each other
	}
	for i, m := range list {
		switch {
		case m.Size == 0:
			d.Add(fmt.Sprintf("%s[%d].size", path, i), "0 maps no id")
		case overflows(m.ContainerID, m.Size) || overflows(m.HostID, m.Size):
			// The last id, 2^32-1, means "none" and cannot be mapped.
			d.Add(fmt.Sprintf("%s[%d].size", path, i), "%d ids from there reach beyond the last one", m.Size)
		default:
			for j, o := range list[:i] {
				if overlap(m.ContainerID, m.Size, o.ContainerID, o.Size) || overlap(m.HostID, m.Size, o.HostID, o.Size) {
					d.Add(fmt.Sprintf("%s[%d]", path, i), "maps ids that [%d] maps already", j)
				}
			}
		}
	}
}

func overflows(first, size uint32) bool { return uint64(first)+uint64(size) > 1<<32-1 }

func overlap(a, aSize, b, bSize uint32) bool {
	return uint64(a) < uint64(b)+uint64(bSize) && uint64(b) < uint64(a)+uint64(aSize)
}

// checkTimeOffsets checks linux.timeOffsets (time_namespaces(7)): they can be
// written only while nothing is in the namespace yet.
func checkTimeOffsets(l *specs.Linux, n namespaces, d *defect.List) {
	if len(l.TimeOffsets) == 0 {
		return
	}
	switch {
	case n.of(specs.TimeNamespace) == nil:
		d.Add("linux.timeOffsets", "linux.namespaces has no time namespace to set them in")
	case !n.isNew(specs.TimeNamespace):
		d.Add("linux.timeOffsets", "the time namespace that linux.namespaces joins by its path has its offsets already")
	}
	clocks := make([]string, 0, len(l.TimeOffsets))
	for clock := range l.TimeOffsets {
		clocks = append(clocks, clock)
	}
	slices.Sort(clocks) // the same defects in the same order every time
	for _, clock := range clocks {
		if clock != "monotonic" && clock != "boottime" {
			d.Add("linux.timeOffsets", "%q is not a clock that has an offset: monotonic or boottime", clock)
		} else if ns := l.TimeOffsets[clock].Nanosecs; ns >= 1e9 {
			d.Add("linux.timeOffsets."+clock+".nanosecs", "%d is a second or more", ns)
		}
	}
}
