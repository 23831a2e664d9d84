package plan

import (
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
)

// The terminal: rootfs/console.go and initproc/console.go. Its master is sent when
// all else has been done, for who has it once must not be sent another.

const (
	ptsRootIno = 1 // inode number of a devpts' root (fs/devpts/inode.c)
	ptmxIno    = 2 // and of its ptmx
)

// console makes the process's terminal of the container's own devpts, which is
// checked to be one. It returns the control message that the master is in.
func (s *setUp) console() (with nsenter.Arg) {
	in := s.i.Init
	defer s.span("make the console", "")()
	pts, slave := s.Cell(), s.Cell()
	with = rights(s.Table, 0)
	master := with.Plus(unix.SizeofCmsghdr)
	s.open("console: open /dev/pts", s.root.Value(), "/dev/pts", unix.O_PATH|unix.O_DIRECTORY, inRoot|unix.RESOLVE_NO_SYMLINKS).Save = pts
	s.onFilesystem("console: /dev/pts is not a devpts", pts, unix.DEVPTS_SUPER_MAGIC)
	s.look(pts.Value())
	s.want("console: /dev/pts is not the root of a devpts", s.seen.Plus(statIno), ptsRootIno, ^uint64(0))
	s.open("console: open /dev/pts/ptmx", pts.Value(), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW, beneath).Save = master
	s.look(master.Value())
	s.want("console: /dev/pts/ptmx is another file", s.seen.Plus(statIno), ptmxIno, ^uint64(0))
	s.wantDevice("console: /dev/pts/ptmx is another device", unix.S_IFCHR, unix.Mkdev(5, 2))
	s.close(pts)
	s.Call("console: unlock the terminal", unix.SYS_IOCTL, master.Value(), num(unix.TIOCSPTLCK), s.Words(0))
	s.Call("console: open the other end", unix.SYS_IOCTL, master.Value(), num(unix.TIOCGPTPEER), num(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)).Save = slave
	if w, h := in.ConsoleWidth, in.ConsoleHeight; w != 0 || h != 0 {
		size := s.Words(uint64(min(h, 0xffff)) | uint64(min(w, 0xffff))<<16) // struct winsize
		s.Call("console: set its size", unix.SYS_IOCTL, master.Value(), num(unix.TIOCSWINSZ), size)
	}
	s.mountConsole(slave)
	s.Call("make the terminal the controlling one", unix.SYS_IOCTL, slave.Value(), num(unix.TIOCSCTTY), num(0))
	for fd := range 3 {
		s.Call("make the terminal a standard stream", unix.SYS_DUP3, slave.Value(), num(fd), num(0))
	}
	s.close(slave)
	return with
}

// mountConsole mounts the terminal on /dev/console.
func (s *setUp) mountConsole(slave nsenter.Arg) {
	dev, target := s.Cell(), s.Cell()
	s.openInRoot("console: open /dev", "/dev", unix.O_PATH|unix.O_DIRECTORY).Save = dev
	name := s.String("console")
	open := s.Call("console: open /dev/console", unix.SYS_OPENAT, dev.Value(), name, num(unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC))
	open.Save, open.Allow = target, nsenter.Errnos(unix.ENOENT)
	missing := s.last()
	there := s.jump()
	s.land(missing)
	s.Call("console: make /dev/console", unix.SYS_OPENAT, dev.Value(), name,
		num(unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC), num(0o600)).Save = target
	if word := s.note("/dev/console"); word != (nsenter.Arg{}) {
		s.Set("note that it is made", word, num(0))
	}
	s.land(there)
	s.look(target.Value())
	link := s.ifType(unix.S_IFLNK)
	good := s.jump()
	s.land(link)
	s.fail("console: /dev/console is a symlink")
	s.land(good)
	s.cover("console: /dev/console", slave, target)
	s.close(target)
	s.close(dev)
}

// sendConsole sends the master to who takes the terminal, with its name, as other
// runtimes do.
func (s *setUp) sendConsole(with nsenter.Arg) {
	const text = "/dev/ptmx"
	s.Call("console socket: send the terminal", unix.SYS_SENDMSG, num(s.i.Facts.Console), message(s.Table, s.Bytes(text), len(text), with), num(unix.MSG_NOSIGNAL))
}
