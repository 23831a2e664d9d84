package rootfs

import (
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// Unused adds a defect for each property of the mounts and devices that is set
// and does nothing in p, which Compile has made of s. Paths to mask that are not
// there are none of them: the lists that engines send are for every host.
func (p *Plan) Unused(s *specs.Spec, d *defect.List) {
	for i := range p.Mounts {
		p.Mounts[i].unused(&s.Mounts[i], d)
	}
	if s.Linux == nil {
		return
	}
	seen := map[string]bool{}
	for i := range s.Linux.Devices {
		p.unusedDevice(index("linux.devices", i), &s.Linux.Devices[i], seen, d)
	}
}

// unused: s is what m was compiled from.
func (m *Mount) unused(s *specs.Mount, d *defect.List) {
	if m.Kind == Filesystem {
		return // the kernel takes it all, or says no
	}
	ownCgroup := m.Kind == Bind && (s.Type == "cgroup" || s.Type == "cgroup2")
	switch s.Type {
	case "", "bind", "rbind", "none":
	case "cgroup", "cgroup2":
		if !ownCgroup {
			d.Add(m.Where+".type", "ignored: a %s has no type", m.Kind)
		}
	default:
		d.Add(m.Where+".type", "ignored: a %s has no type", m.Kind)
	}
	if m.Kind == Remount && s.Source != "" && s.Source != "none" {
		d.Add(m.Where+".source", "ignored: a remount has no source")
	}
	ofFilesystem := false // a remount changes that, unless bind is said
	for _, name := range s.Options {
		ofFilesystem = ofFilesystem || name == "remount"
	}
	for _, name := range s.Options {
		if name == "bind" || name == "rbind" {
			ofFilesystem = false
		}
	}
	writable := -1 // where rw is asked for, if nothing behind it says otherwise
	for i, name := range s.Options {
		o, known := findOption(name)
		if known && o.bits == unix.MOUNT_ATTR_RDONLY && (o.what == optReadonly || o.what == optRecAttr) {
			writable = -1
			if o.clear {
				writable = i
			}
		}
		switch {
		case !known && !ofFilesystem && (ownCgroup || m.Kind == Remount):
			d.Add(index(m.Where+".options", i), "%q is ignored: it is the filesystem's, which is mounted already", name)
		case known && o.what == optSuper && !ofFilesystem:
			d.Add(index(m.Where+".options", i), "%q is ignored: it is the filesystem's, which is mounted already", name)
		case known && o.what == optLegacy:
			d.Add(index(m.Where+".options", i), "%q is ignored: it is for a filesystem that is newly mounted", name)
		}
	}
	if ownCgroup && writable >= 0 && (m.Set&^m.RecClear|m.RecSet)&unix.MOUNT_ATTR_RDONLY != 0 {
		d.Add(index(m.Where+".options", writable), "%q is ignored: without a cgroup namespace a rootless container's cgroup is mounted read-only", s.Options[writable])
	}
}

func (p *Plan) unusedDevice(where string, s *specs.LinuxDevice, seen map[string]bool, d *defect.List) {
	path := filepath.Clean("/" + s.Path)
	switch {
	case !p.SetupDev:
		d.Add(where, "ignored: /dev is the host's, by a bind mount")
		return
	case path == ptmx:
		d.Add(where, "ignored: %s is always the link to the container's own devpts", ptmx)
		return
	case seen[path]:
		d.Add(where, "ignored: the list has %s already", path)
		return
	}
	seen[path] = true
	if s.Type == "p" {
		if s.Major != 0 || s.Minor != 0 {
			d.Add(where, "major and minor are ignored: a FIFO has no device number")
		}
		return
	}
	if !p.BindDevices {
		return
	}
	for _, f := range [...]struct {
		name string
		set  bool
	}{
		{"fileMode", s.FileMode != nil && uint32(*s.FileMode)&^unix.S_IFMT != 0},
		{"uid", s.UID != nil}, {"gid", s.GID != nil},
	} {
		if f.set {
			d.Add(where+"."+f.name, "ignored: in a user namespace the node is the host's own, bound, with its owner and mode")
		}
	}
}
