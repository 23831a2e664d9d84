package plan

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/nsenter"
)

// The device nodes and the symlinks in /dev: rootfs/devices.go.

func (s *setUp) devices() {
	defer s.span("make the devices", "")()
	dev := s.directory("/dev", "/dev")
	for i := range s.r.Devices {
		d := &s.r.Devices[i]
		parent, up := dev, d.Path[:strings.LastIndexByte(d.Path, '/')]
		switch up {
		case "/dev":
		case "":
			parent = s.root
		default:
			parent = s.directory(d.String(), up)
		}
		s.device(parent, d)
		if parent != dev && parent != s.root {
			s.close(parent)
		}
	}
	s.links(dev)
	s.close(dev)
}

// directory opens a directory, or makes it.
func (s *setUp) directory(where, path string) (fd nsenter.Arg) {
	fd = s.Cell()
	open := s.open(where+": open "+path, s.root.Value(), path, unix.O_PATH|unix.O_DIRECTORY, inRoot|unix.RESOLVE_NO_SYMLINKS)
	open.Save, open.Allow = fd, nsenter.Errnos(unix.ENOENT)
	missing := s.last()
	there := s.jump()
	s.land(missing)
	s.makeDir(where, path, fd)
	s.land(there)
	return fd
}

// device makes a node. One that is there, in the image or by a mount of the
// config, is left as it is if it is of the device that is meant.
func (s *setUp) device(parent nsenter.Arg, d *rootfs.Device) {
	name := s.String(d.Path[strings.LastIndexByte(d.Path, '/')+1:])
	mknod := s.Call(d.String()+": mknod", unix.SYS_MKNODAT, parent.Value(), name, id(d.Mode), num(int(d.Dev)))
	mknod.Save, mknod.Allow = s.note(d.Path), nsenter.Errnos(unix.EEXIST)
	exists := s.last()
	s.lookAt(parent.Value(), name)
	s.wantDevice(d.String()+": the new node is another", d.Mode, d.Dev)
	// What is changed is the file that was looked at.
	right := []int{}
	if d.UID != 0 || d.GID != 0 {
		fd := s.Cell()
		s.Call(d.String()+": open it", unix.SYS_OPENAT, parent.Value(), name, num(unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)).Save = fd
		s.look(fd.Value())
		s.wantDevice(d.String()+": the new node is another", d.Mode, d.Dev)
		s.Call(d.String()+": chown", unix.SYS_FCHOWNAT, fd.Value(), s.empty, id(d.UID), id(d.GID), num(unix.AT_EMPTY_PATH))
		s.look(fd.Value())
		s.close(fd)
	}
	s.want(d.String()+": the new node has another mode", s.seen.Plus(statMode), uint64(d.GID)|uint64(d.Mode)<<32, ^uint64(0))
	s.want(d.String()+": the new node has another owner", s.seen.Plus(statOwner), uint64(d.UID)<<32, upper)
	right = append(right, s.jump())
	s.land(exists)
	s.lookAt(parent.Value(), name)
	s.wantDevice(d.String()+": a file is there already", d.Mode, d.Dev)
	s.land(right...)
}

// links makes the symlinks; what is there already stays, but for ptmx.
func (s *setUp) links(dev nsenter.Arg) {
	for _, l := range rootfs.Links {
		s.link(dev, l.Target, l.Name)
	}
	core := s.Cell()
	look := s.openInRoot("look for /proc/kcore", "/proc/kcore", unix.O_PATH)
	look.Save, look.Allow = core, nsenter.AnyErrno
	none := s.last()
	s.close(core)
	s.link(dev, "/proc/kcore", "core")
	s.land(none)
	there := s.link(dev, "pts/ptmx", "ptmx")
	done := s.jump()
	s.land(there)
	name := s.String("ptmx")
	// EBUSY: the config has mounted something there itself.
	s.Call("remove /dev/ptmx", unix.SYS_UNLINKAT, dev.Value(), name, num(0)).Allow = nsenter.Errnos(unix.EBUSY)
	busy := s.last()
	s.Call("symlink /dev/ptmx", unix.SYS_SYMLINKAT, s.String("pts/ptmx"), dev.Value(), name)
	s.land(done, busy)
}

// link makes a symlink in /dev, if the name is free; the index is that of the step
// which goes on elsewhere if it is not.
func (s *setUp) link(dev nsenter.Arg, target, name string) int {
	step := s.Call("symlink /dev/"+name, unix.SYS_SYMLINKAT, s.String(target), dev.Value(), s.String(name))
	step.Save, step.Allow = s.note("/dev/"+name), nsenter.Errnos(unix.EEXIST)
	return s.last()
}
