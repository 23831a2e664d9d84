package plan

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/nsenter"
)

// The mounts of the config: rootfs/mount.go and target.go. A destination that is
// reached through a symlink, or below one, is left to init, which then looks where
// that leads.

// straightMount returns why Mounts[n] is none for a table; "" if it is.
func straightMount(r *rootfs.Plan, n int) (why string) {
	m := &r.Mounts[n]
	switch {
	case m.CopyUp:
		return "tmpcopyup"
	case m.IDMap != nil:
		return "its ids are mapped"
	case m.Legacy:
		return "it needs mount(2)"
	case m.Source == rootfs.LaterCgroup: // a fallback is init's
		return "its source is not known yet"
	case takesMode(m):
		if at, ok := r.MadeAt(m.Destination, n); !ok || at.On != "" { // on another mount, which is not there yet
			return "a tmpfs takes the mode of what it covers"
		}
	}
	return ""
}

// takesMode is whether a mount is a tmpfs that takes the mode of the directory that
// it covers, if there is one.
func takesMode(m *rootfs.Mount) bool {
	return m.Kind == rootfs.Filesystem && m.Type == "tmpfs" && !m.OwnMode
}

// Covered are the directories of the root filesystem whose mode has to be known.
func (i *Init) Covered() (paths []string) {
	for k := range i.Rootfs.Mounts {
		if m := &i.Rootfs.Mounts[k]; takesMode(m) {
			paths = append(paths, m.Destination)
		}
	}
	return paths
}

// mounts makes them in their order, and then the devices. It returns what is to be
// made read-only in the end.
func (s *setUp) mounts() (late []lateMount) {
	defer s.span("make the mounts", "")()
	for n := range s.r.Mounts {
		m := &s.r.Mounts[n]
		end := s.span("mount", m.Destination)
		switch m.Kind {
		case rootfs.Bind:
			s.bind(m)
		case rootfs.Remount:
			s.remount(m)
		default:
			if fd := s.newMount(m); m.LateReadonly {
				late = append(late, lateMount{m, fd})
			}
		}
		if m.Kind != rootfs.Remount {
			s.mounted[m.Destination] = m
		}
		end()
	}
	if s.r.SetupDev {
		s.devices()
	}
	return late
}

// lateMount is a mount to be made read-only in the end, and where its fd is.
type lateMount struct {
	m  *rootfs.Mount
	fd nsenter.Arg
}

// bind mounts a copy of the tree at the source, whose attributes are set while it
// is detached.
func (s *setUp) bind(m *rootfs.Mount) {
	where := m.String() + ": "
	flags := cloneTree
	if m.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree := s.Cell()
	s.Call(where+"open source "+m.Source, unix.SYS_OPEN_TREE, num(unix.AT_FDCWD), s.String(m.Source), num(flags)).Save = tree
	if m.ProcSource {
		s.onFilesystem(where+"the source is no procfs", tree, unix.PROC_SUPER_MAGIC)
		s.look(tree.Value())
		s.want(where+"the source is not the root of a procfs", s.seen.Plus(statIno), procRootIno, ^uint64(0))
	}
	if m.SysSource {
		s.onFilesystem(where+"the source is no sysfs", tree, unix.SYSFS_MAGIC)
	}
	s.setAttrs(where, tree, m)
	target := s.pin(m, tree)
	s.attach(where+"move_mount", tree, target)
	s.propagate(where, tree, m)
	s.close(target)
	s.close(tree)
}

// procRootIno is the inode number of the root of every procfs (linux/proc_ns.h).
const procRootIno = 1

// onFilesystem appends what fails unless the file of an fd is on a filesystem of
// that type.
func (s *setUp) onFilesystem(why string, fd nsenter.Arg, magic uint64) {
	const size = 120 // struct statfs, which begins with the type
	buf := s.Words(make([]uint64, size/8)...)
	s.Call("look at its filesystem", unix.SYS_FSTATFS, fd.Value(), buf)
	s.want(why, buf, magic, ^uint64(0))
}

// setAttrs sets the attributes that options name, first those of the mount alone.
func (s *setUp) setAttrs(where string, fd nsenter.Arg, m *rootfs.Mount) {
	s.setAttr(where+"mount_setattr", fd.Value(), false, m.Set, m.Clear|m.Unnamed, 0)
	s.setAttr(where+"mount_setattr", fd.Value(), true, m.RecSet, m.RecClear, 0)
}

// propagate sets the propagation of an attached mount.
func (s *setUp) propagate(where string, fd nsenter.Arg, m *rootfs.Mount) {
	for _, flags := range m.Propagation {
		s.setAttr(where+"set propagation", fd.Value(), flags&unix.MS_REC != 0, 0, 0, flags&^unix.MS_REC)
	}
}

// remount changes the mount at the destination, and its filesystem when there are
// parameters for it.
func (s *setUp) remount(m *rootfs.Mount) {
	where := m.String() + ": "
	target := s.Cell()
	s.open(where+"open the destination", s.root.Value(), m.Destination, unix.O_PATH, inRoot|unix.RESOLVE_NO_SYMLINKS).Save = target
	if len(m.Params) > 0 {
		ctx := s.Cell()
		s.Call(where+"fspick", unix.SYS_FSPICK, target.Value(), s.empty, num(unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)).Save = ctx
		s.configure(where, ctx, m.Params)
		s.Call(where+"reconfigure the filesystem", unix.SYS_FSCONFIG, ctx.Value(), num(unix.FSCONFIG_CMD_RECONFIGURE), num(0), num(0), num(0))
		s.close(ctx)
	}
	s.setAttrs(where, target, m)
	s.propagate(where, target, m)
	s.close(target)
}

// newMount mounts a new filesystem and returns where its fd is, if that stays open.
func (s *setUp) newMount(m *rootfs.Mount) (fd nsenter.Arg) {
	where := m.String() + ": "
	params := m.Params
	var target nsenter.Arg
	if takesMode(m) {
		mode, there := s.i.Facts.Modes[m.Destination]
		target = s.pinAsSeen(m, mode, there)
		if there {
			params = append([]rootfs.Param{{Key: "mode", Value: strconv.FormatUint(uint64(mode), 8)}}, params...)
		}
	} else {
		target = s.pin(m, nsenter.Arg{})
	}
	fd = s.Cell()
	s.filesystem(where+"make the filesystem", fd, m.Type, m.Source, params, m.Set)
	s.attach(where+"move_mount", fd, target)
	s.propagate(where, fd, m)
	s.close(target)
	if !m.LateReadonly {
		s.close(fd)
	}
	return fd
}

// filesystem is linux.NewFilesystem; the fd goes to a cell.
func (s *setUp) filesystem(why string, fd nsenter.Arg, fstype, source string, params []rootfs.Param, attr uint64) {
	ctx := s.Cell()
	s.Call(why+": fsopen "+fstype, unix.SYS_FSOPEN, s.String(fstype), num(unix.FSOPEN_CLOEXEC)).Save = ctx
	if source != "" {
		params = append([]rootfs.Param{{Key: "source", Value: source}}, params...)
	}
	s.configure(why+": ", ctx, params)
	s.Call(why+": create it", unix.SYS_FSCONFIG, ctx.Value(), num(unix.FSCONFIG_CMD_CREATE), num(0), num(0), num(0))
	s.Call(why+": fsmount", unix.SYS_FSMOUNT, ctx.Value(), num(unix.FSMOUNT_CLOEXEC), num(int(attr))).Save = fd
	s.close(ctx)
}

func (s *setUp) configure(why string, ctx nsenter.Arg, params []rootfs.Param) {
	for _, p := range params {
		how, value := unix.FSCONFIG_SET_STRING, num(0)
		if p.Flag {
			how = unix.FSCONFIG_SET_FLAG
		} else {
			value = s.String(p.Value)
		}
		s.Call(why+"fsconfig "+p.String(), unix.SYS_FSCONFIG, ctx.Value(), num(how), s.String(p.Key), value, num(0))
	}
}

// pin opens the destination of a mount, or makes it: a directory, or where tree
// is a file one.
func (s *setUp) pin(m *rootfs.Mount, tree nsenter.Arg) (target nsenter.Arg) {
	where := m.String() + ": destination"
	target = s.Cell()
	open := s.open(where, s.root.Value(), m.Destination, unix.O_PATH, inRoot|unix.RESOLVE_NO_SYMLINKS)
	open.Save, open.Allow = target, nsenter.Errnos(unix.ENOENT)
	missing := s.last()
	there := s.jump()
	s.land(missing)
	made := -1
	if tree != (nsenter.Arg{}) {
		s.look(tree.Value())
		dir := s.ifType(unix.S_IFDIR)
		s.makeFile(where, m.Destination, target)
		made = s.jump()
		s.land(dir)
	}
	s.makeDir(where, m.Destination, target)
	if made >= 0 {
		s.land(made)
	}
	s.land(there)
	return target
}

// pinAsSeen is pin where gourd has looked before whether there is a directory, and
// what mode it has: it must be so still.
func (s *setUp) pinAsSeen(m *rootfs.Mount, mode uint32, there bool) (target nsenter.Arg) {
	where := m.String() + ": destination"
	target = s.Cell()
	open := s.open(where, s.root.Value(), m.Destination, unix.O_PATH, inRoot|unix.RESOLVE_NO_SYMLINKS)
	open.Save = target
	if there {
		s.look(target.Value())
		s.want(where+": its mode has changed", s.seen.Plus(statMode), uint64(mode)<<32, 0o7777<<32)
		return target
	}
	open.Allow = nsenter.Errnos(unix.ENOENT)
	missing := s.last()
	s.fail(where + ": it was not there before")
	s.land(missing)
	s.makeDir(where, m.Destination, target)
	return target
}

// makeDir makes a directory that is missing, and what is missing on the way to it.
func (s *setUp) makeDir(where, path string, fd nsenter.Arg) {
	parent, owned := s.parent(where, path)
	s.makeOne(where, parent, path, fd)
	if owned {
		s.Call("close it", unix.SYS_CLOSE, parent)
	}
}

// makeFile is makeDir for an empty file, which must not exist.
func (s *setUp) makeFile(where, path string, fd nsenter.Arg) {
	parent, owned := s.parent(where, path)
	s.Call(where+": make "+path, unix.SYS_OPENAT, parent, s.String(path[strings.LastIndexByte(path, '/')+1:]),
		num(unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC), num(0o644)).Save = fd
	if word := s.note(path); word != (nsenter.Arg{}) {
		s.Set("note that it is made", word, num(0))
	}
	if owned {
		s.Call("close it", unix.SYS_CLOSE, parent)
	}
}

// makeOne makes the last directory of path in parent and opens it. One that is
// there, from just now, is taken if it is none but a directory.
func (s *setUp) makeOne(where string, parent nsenter.Arg, path string, fd nsenter.Arg) {
	name := s.String(path[strings.LastIndexByte(path, '/')+1:])
	make := s.Call(where+": make "+path, unix.SYS_MKDIRAT, parent, name, num(0o755))
	make.Save, make.Allow = s.note(path), nsenter.Errnos(unix.EEXIST)
	s.Call(where+": open "+path, unix.SYS_OPENAT, parent, name, num(unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC)).Save = fd
}

// parent opens the directory that path is in, or makes it. It returns an argument
// for steps, and whether that is an fd to be closed.
func (s *setUp) parent(where, path string) (dir nsenter.Arg, owned bool) {
	up := path[:strings.LastIndexByte(path, '/')]
	if up == "" {
		return s.root.Value(), false
	}
	fd := s.Cell()
	open := s.open(where+": open "+up, s.root.Value(), up, unix.O_PATH|unix.O_DIRECTORY, inRoot|unix.RESOLVE_NO_SYMLINKS)
	open.Save, open.Allow = fd, nsenter.Errnos(unix.ENOENT)
	missing := s.last()
	there := s.jump()
	s.land(missing)
	dir = s.root.Value()
	for at := 0; at < len(up); {
		next := len(up)
		if i := strings.IndexByte(up[at+1:], '/'); i >= 0 {
			next = at + 1 + i
		}
		to := fd
		if next < len(up) {
			to = s.Cell()
		}
		s.makeOne(where, dir, up[:next], to)
		if at > 0 {
			s.Call("close it", unix.SYS_CLOSE, dir)
		}
		dir, at = to.Value(), next
	}
	s.land(there)
	return fd.Value(), true
}
