package rootfs

import (
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

const (
	devMode = 0o666 // permissions of a device whose fileMode is not given
	ptmx    = "/dev/ptmx"

	// Device numbers have 12 and 20 bits (MINORBITS, linux/kdev_t.h).
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// compileDevices returns the default devices (config-linux.md, "Default
// Devices") that the config does not name itself, then the config's own.
// /dev/ptmx is always the symlink to pts/ptmx, so that a terminal belongs to
// the container's own devpts, and never a node.
func compileDevices(ds []specs.LinuxDevice, d *defect.List) []Device {
	var own []Device
	for i := range ds {
		dev, ok := compileDevice(index("linux.devices", i), &ds[i], d)
		if !ok || dev.Path == ptmx {
			continue
		}
		switch first := find(own, dev.Path); {
		case first == nil:
			own = append(own, dev)
		case first.Mode&unix.S_IFMT != dev.Mode&unix.S_IFMT || first.Dev != dev.Dev:
			d.Add(dev.Where+".path", "%s is another device in %s already", dev.Path, first.Where)
		}
	}
	var out []Device
	for _, n := range [...]struct {
		path         string
		major, minor uint32
	}{
		{"/dev/null", 1, 3},
		{"/dev/zero", 1, 5},
		{"/dev/full", 1, 7},
		{"/dev/random", 1, 8},
		{"/dev/urandom", 1, 9},
		{"/dev/tty", 5, 0},
	} {
		if find(own, n.path) == nil {
			out = append(out, Device{Where: "default device", Path: n.path, Mode: unix.S_IFCHR | devMode, Dev: unix.Mkdev(n.major, n.minor)})
		}
	}
	return append(out, own...)
}

func find(ds []Device, path string) *Device {
	for i := range ds {
		if ds[i].Path == path {
			return &ds[i]
		}
	}
	return nil
}

func compileDevice(where string, s *specs.LinuxDevice, d *defect.List) (Device, bool) {
	dev := Device{Where: where, Path: filepath.Clean("/" + s.Path), Mode: devMode}
	before := len(*d)
	switch {
	case s.Path == "":
		d.Add(where+".path", "missing")
	case strings.IndexByte(s.Path, 0) >= 0:
		d.Add(where+".path", "%q holds a NUL byte", s.Path)
	case s.Path[0] != '/':
		d.Add(where+".path", "%q is not an absolute path", s.Path)
	case dev.Path == "/":
		d.Add(where+".path", "%q is the container's root", s.Path)
	}
	if s.FileMode != nil {
		// Engines send st_mode, type and all.
		dev.Mode = uint32(*s.FileMode) &^ unix.S_IFMT
		if dev.Mode&^0o7777 != 0 {
			d.Add(where+".fileMode", "%#o has bits beyond permissions", uint32(*s.FileMode))
		}
	}
	switch s.Type {
	case "c", "u":
		dev.Mode |= unix.S_IFCHR
	case "b":
		dev.Mode |= unix.S_IFBLK
	case "p":
		dev.Mode |= unix.S_IFIFO
	case "":
		d.Add(where+".type", "missing")
	default:
		d.Add(where+".type", "%q is none of c, b, u, p", s.Type)
	}
	if s.Type != "p" {
		if s.Major < 0 || s.Major > maxMajor {
			d.Add(where+".major", "%d is not between 0 and %d", s.Major, maxMajor)
		}
		if s.Minor < 0 || s.Minor > maxMinor {
			d.Add(where+".minor", "%d is not between 0 and %d", s.Minor, maxMinor)
		}
		dev.Dev = unix.Mkdev(uint32(s.Major), uint32(s.Minor))
	}
	if s.UID != nil {
		dev.UID = *s.UID
	}
	if s.GID != nil {
		dev.GID = *s.GID
	}
	return dev, len(*d) == before
}
