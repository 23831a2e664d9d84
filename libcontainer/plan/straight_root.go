package plan

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
)

// The root of the container, from where it is on the host to where its process
// finds it: rootfs/open.go, pivot.go and sysctl.go.

// Flags of open_tree(2) and move_mount(2) for what an fd refers to.
const (
	cloneTree = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	moveByFD  = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH

	mountAttrSize = 32 // struct mount_attr
)

// clone appends the copy of the mount that an fd is on, with the file of the fd as
// its root.
func (s *setUp) clone(why string, fd nsenter.Arg, recursive bool) (tree nsenter.Arg) {
	flags := cloneTree | unix.AT_EMPTY_PATH
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree = s.Cell()
	s.Call(why, unix.SYS_OPEN_TREE, fd, s.empty, num(flags)).Save = tree
	return tree
}

// attach appends the move of a detached mount onto the file of an fd.
func (s *setUp) attach(why string, tree, target nsenter.Arg) *nsenter.Step {
	return s.Call(why, unix.SYS_MOVE_MOUNT, tree.Value(), s.empty, target.Value(), s.empty, num(moveByFD))
}

// setAttr appends mount_setattr(2), if there is anything to set.
func (s *setUp) setAttr(why string, fd nsenter.Arg, recursive bool, set, clear, propagation uint64) {
	attr := unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation}
	if attr == (unix.MountAttr{}) {
		return
	}
	flags := unix.AT_EMPTY_PATH
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	s.Call(why, unix.SYS_MOUNT_SETATTR, fd, s.empty, num(flags), s.attr(attr), num(mountAttrSize))
}

func (s *setUp) attr(attr unix.MountAttr) nsenter.Arg {
	at, ok := s.attrs[attr]
	if !ok {
		at = s.Words(attr.Attr_set, attr.Attr_clr, attr.Propagation, attr.Userns_fd)
		s.attrs[attr] = at
	}
	return at
}

// openRoot cuts the mounts of the namespace off from those of the host, clones the
// root filesystem and attaches it where it lies.
func (s *setUp) openRoot() {
	defer s.span("open the root filesystem", "")()
	cut := uint64(unix.MS_SLAVE)
	top := uint64(unix.MS_PRIVATE)
	if p := s.r.Propagation; p != 0 {
		cut = p &^ unix.MS_REC
		if p&unix.MS_SLAVE != 0 {
			top = unix.MS_SLAVE
		}
	}
	s.Call("linux.rootfsPropagation: cut the mounts off from the host's", unix.SYS_MOUNT_SETATTR, num(unix.AT_FDCWD), s.String("/"),
		num(unix.AT_RECURSIVE), s.attr(unix.MountAttr{Propagation: cut}), num(mountAttrSize))
	place := s.openPlace()
	s.root = s.clone("clone the root filesystem", place.Value(), true)
	s.setAttr("set the propagation of root.path", s.root.Value(), false, 0, 0, top)
	s.attach("attach the root filesystem", s.root, place)
	s.close(place)
	if len(s.r.Sysctls) > 0 || s.c.AppArmorProfile != "" {
		s.proc = s.Cell()
		s.filesystem("procfs of its own", s.proc, "proc", "", nil, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	}
}

// openPlace opens root.path, no part of which may be a symlink below the bundle.
func (s *setUp) openPlace() (place nsenter.Arg) {
	place = s.Cell()
	dir, path := num(unix.AT_FDCWD), s.r.Rootfs
	if rest, ok := strings.CutPrefix(path, s.r.Bundle+"/"); ok && s.r.Bundle != "" {
		path = rest
	}
	var bundle nsenter.Arg
	below := !filepath.IsAbs(path)
	if below {
		bundle = s.Cell()
		s.Call("open the bundle", unix.SYS_OPENAT, dir, s.String(s.r.Bundle), num(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)).Save = bundle
		dir = bundle.Value()
	}
	s.open("open root.path "+s.r.Rootfs, dir, path, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS).Save = place
	if below {
		s.close(bundle)
	}
	return place
}

// pivot makes the container's root the root, and takes the host's away, whose
// mounts openRoot has made slaves or private. What wants the root to be that and
// still writable follows.
func (s *setUp) pivot() {
	defer s.span("change the root", "")()
	old := s.Cell()
	s.Call("open the old root", unix.SYS_OPENAT, num(unix.AT_FDCWD), s.String("/"), num(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)).Save = old
	s.Call("go to the container's root", unix.SYS_FCHDIR, s.root.Value())
	s.Call("pivot_root", unix.SYS_PIVOT_ROOT, s.String("."), s.String("."))
	s.Call("go to the old root", unix.SYS_FCHDIR, old.Value())
	s.Call("take the old root away", unix.SYS_UMOUNT2, s.String("."), num(unix.MNT_DETACH))
	s.Call("go to the new root", unix.SYS_CHDIR, s.String("/"))
	s.close(old)
	s.makeCwd()
	s.reopenNull()
}

// makeCwd makes process.cwd where it is missing. Any other trouble with it is for
// the one to meet who goes there.
func (s *setUp) makeCwd() {
	cwd := s.r.Cwd
	if cwd == "" || cwd == "/" {
		return
	}
	fd := s.Cell()
	look := s.openInRoot("look for process.cwd "+cwd, cwd, unix.O_PATH)
	look.Save, look.Allow = fd, nsenter.AnyErrno
	at := s.last()
	s.close(fd)
	there := s.jump()
	s.land(at)
	missing := s.jumpIf(fd, errno(unix.ENOENT), 0)
	other := s.jump()
	s.land(missing)
	s.makeDir("process.cwd "+cwd, cwd, fd)
	s.close(fd)
	s.land(there, other)
}

// errno is how a failure is saved.
func errno(e unix.Errno) uint64 { return uint64(-int64(e)) }

// openNull appends the opening of the container's /dev/null, which is checked to be
// that, and leads elsewhere if there is none.
func (s *setUp) openNull(flags int) (null nsenter.Arg, none int) {
	null = s.Cell()
	open := s.openInRoot("open the container's /dev/null", "/dev/null", flags|unix.O_NOFOLLOW)
	open.Save, open.Allow = null, nsenter.Errnos(unix.ENOENT)
	none = s.last()
	s.look(null.Value())
	s.wantDevice("the container's /dev/null is another device", unix.S_IFCHR, unix.Mkdev(1, 3))
	return null, none
}

// reopenNull replaces what is the host's /dev/null by the container's own, if that
// has one. It is looked at before it is opened, and again then.
func (s *setUp) reopenNull() {
	if len(s.i.Facts.Null) == 0 {
		return
	}
	look, none := s.openNull(unix.O_PATH)
	s.close(look)
	null, gone := s.openNull(unix.O_RDWR | unix.O_NONBLOCK)
	s.Call("let it block", unix.SYS_FCNTL, null.Value(), num(unix.F_SETFL), num(0))
	for _, fd := range s.i.Facts.Null {
		s.Call("make it a standard stream", unix.SYS_DUP3, null.Value(), num(fd), num(0))
	}
	s.close(null)
	s.land(none, gone)
}

// execLabels is credentials.Plan.ExecLabels. The next execve is the program's, also
// that of an init which waits at the gate.
func (s *setUp) execLabels() {
	profile := s.c.AppArmorProfile
	if profile == "" {
		return
	}
	s.appArmorProfile(s.proc.Value())
	for _, step := range [...]string{openExecAttr, writeExecAttr(profile)} {
		s.i.words[step] = func(errno unix.Errno) error { return s.c.AppArmorError(errno) }
	}
}

// sysctls writes them through the procfs that openRoot has made.
func (s *setUp) sysctls() {
	defer s.span("write the sysctls", "")()
	for i := range s.r.Sysctls {
		c := &s.r.Sysctls[i]
		fd := s.Cell()
		open, write := "linux.sysctl."+c.Name+": open /proc/"+c.File, "linux.sysctl."+c.Name+": write /proc/"+c.File
		s.open(open, s.proc.Value(), c.File, unix.O_WRONLY, beneath).Save = fd
		s.Call(write, unix.SYS_WRITE, fd.Value(), s.Bytes(c.Value), num(len(c.Value)))
		s.close(fd)
		s.i.words[open] = func(errno unix.Errno) error { return c.OpenError(errno) }
		s.i.words[write] = func(errno unix.Errno) error { return c.WriteError(errno) }
	}
}
