package plan

import (
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/nsenter"
)

// What closes the root filesystem: rootfs/finish.go.

func (s *setUp) finish(late []lateMount) {
	defer s.span("make paths read-only, and mask them", "")()
	for _, l := range late {
		s.setAttr(l.m.String()+": make it read-only", l.fd.Value(), false, unix.MOUNT_ATTR_RDONLY, 0, 0)
		s.close(l.fd)
	}
	if s.r.Readonly {
		s.setAttr("root.readonly", s.root.Value(), false, unix.MOUNT_ATTR_RDONLY, 0, 0)
	}
	for _, path := range s.r.ReadonlyPaths {
		where := "linux.readonlyPaths (" + path + ")"
		target, missing := s.covered(where, path)
		tree := s.clone(where+": open_tree", target.Value(), true)
		s.setAttr(where+": mount_setattr", tree.Value(), false, unix.MOUNT_ATTR_RDONLY, 0, 0)
		s.attach(where+": move_mount", tree, target)
		s.close(tree)
		s.close(target)
		s.land(missing)
	}
	s.mask()
}

// covered opens a path that is to be covered; what does not exist leads elsewhere.
func (s *setUp) covered(where, path string) (target nsenter.Arg, missing int) {
	target = s.Cell()
	open := s.openInRoot(where, path, unix.O_PATH)
	open.Save, open.Allow = target, nsenter.Errnos(unix.ENOENT, unix.ENOTDIR)
	return target, s.last()
}

// mask covers files with the container's /dev/null, and directories with one empty
// read-only tmpfs. Whether either is needed shows only then.
func (s *setUp) mask() {
	defer s.span("mask paths", "")()
	if len(s.r.MaskedPaths) == 0 {
		return
	}
	none := errno(unix.EBADF)
	null, empty := s.Words(none), s.Words(none)
	for _, path := range s.r.MaskedPaths {
		where := "linux.maskedPaths (" + path + ")"
		target, missing := s.covered(where, path)
		s.look(target.Value())
		dir := s.ifType(unix.S_IFDIR)

		unopened := s.jumpIf(null, none, 0)
		opened := s.jump()
		s.land(unopened)
		s.openInRoot(where+": the container's /dev/null", "/dev/null", unix.O_PATH|unix.O_NOFOLLOW).Save = null
		s.look(null.Value())
		s.wantDevice(where+": the container's /dev/null is another device", unix.S_IFCHR, unix.Mkdev(1, 3))
		s.land(opened)
		s.cover(where, null, target)
		fileDone := s.jump()

		s.land(dir)
		unmade := s.jumpIf(empty, none, 0)
		s.cover(where, empty, target)
		made := s.jump()
		s.land(unmade)
		s.filesystem(where, empty, "tmpfs", "tmpfs", rootfs.MaskParams(s.r.MountLabel), rootfs.MaskAttrs)
		s.attach(where+": move_mount", empty, target) // from now on it can be cloned
		s.land(fileDone, made)
		s.close(target)
		s.land(missing)
	}
}

// cover mounts the file of one fd on that of another.
func (s *setUp) cover(where string, with, target nsenter.Arg) {
	tree := s.clone(where+": open_tree", with.Value(), false)
	s.attach(where+": move_mount", tree, target)
	s.close(tree)
}
