package rootfs

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// setupDev makes the device nodes, and the symlinks in /dev.
func (r *Root) setupDev() error {
	defer trace.Begin("make the devices").End()
	// Nearly all of them lie in /dev: it is looked up once.
	dev, err := r.makeDir("/dev", false)
	if err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	defer unix.Close(dev)
	for i := range r.plan.Devices {
		d := &r.plan.Devices[i]
		if err := r.makeDevice(dev, d); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return r.makeLinks(dev)
}

func (r *Root) makeDevice(dev int, d *Device) error {
	dir, name := path.Split(d.Path)
	parent := dev
	if dir != "/dev/" {
		fd, err := r.makeDir(dir, false)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		parent = fd
	}
	if r.plan.BindDevices && d.Mode&unix.S_IFMT != unix.S_IFIFO {
		return r.bindDevice(parent, name, d)
	}
	err := unix.Mknodat(parent, name, d.Mode, int(d.Dev))
	switch err {
	case nil:
		r.note(parent, d.Path)
		return finishNode(parent, name, d)
	case unix.EEXIST:
		// A node in the image, or one that a mount of the config brought.
		var st unix.Stat_t
		if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("fstatat: %w", err)
		}
		if err := sameDevice(&st, d); err != nil {
			return fmt.Errorf("a file is there already, and it %w", err)
		}
		return nil
	case unix.EPERM:
		return r.bindDevice(parent, name, d)
	}
	return fmt.Errorf("mknod: %w", err)
}

// finishNode gives the node its owner and mode. In a directory that others
// can write to, name may be another file by now: what is changed is the file
// that was looked at.
func finishNode(parent int, name string, d *Device) error {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("fstatat: %w", err)
	}
	if err := sameDevice(&st, d); err != nil {
		return fmt.Errorf("the new node %w", err)
	}
	if st.Mode == d.Mode && st.Uid == d.UID && st.Gid == d.GID {
		return nil
	}
	fd, err := linux.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if err := sameDevice(&st, d); err != nil {
		return fmt.Errorf("the new node %w", err)
	}
	if err := unix.Fchownat(fd, "", int(d.UID), int(d.GID), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", d.UID, d.GID, err)
	}
	// fchmod(2) refuses an O_PATH descriptor, and fchmodat2(2) is of Linux
	// 6.6; the name in the host's procfs is the descriptor's own file.
	if err := unix.Chmod(fdPath(fd), d.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod to %#o: %w", d.Mode&0o7777, err)
	}
	return nil
}

// sameDevice returns an error, "is …", when st is not of d.
func sameDevice(st *unix.Stat_t, d *Device) error {
	if st.Mode&unix.S_IFMT == d.Mode&unix.S_IFMT && (uint64(st.Rdev) == d.Dev || d.Mode&unix.S_IFMT == unix.S_IFIFO) {
		return nil
	}
	return fmt.Errorf("is %s, not %s: %w", nodeName(st.Mode, uint64(st.Rdev)), nodeName(d.Mode, d.Dev), unix.EEXIST)
}

func nodeName(mode uint32, dev uint64) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return fmt.Sprintf("the character device %d:%d", unix.Major(dev), unix.Minor(dev))
	case unix.S_IFBLK:
		return fmt.Sprintf("the block device %d:%d", unix.Major(dev), unix.Minor(dev))
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFLNK:
		return "a symlink"
	case unix.S_IFDIR:
		return "a directory"
	}
	return "a file"
}

// bindDevice mounts the host's node of the same path, after a check that it is
// the device that is meant. Its owner and mode are the host's.
func (r *Root) bindDevice(parent int, name string, d *Device) error {
	host, err := linux.Openat(unix.AT_FDCWD, d.Path, unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("mknod is not permitted, and the host's %s: %w", d.Path, err)
	}
	defer unix.Close(host)
	var st unix.Stat_t
	if err := unix.Fstat(host, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if err := sameDevice(&st, d); err != nil {
		return fmt.Errorf("mknod is not permitted, and the host's %s %w", d.Path, err)
	}
	return r.bindOver(host, parent, name, d.Path)
}

// bindOver mounts the file source onto the file name in the directory parent,
// which is made when it is missing; path is its path in the container.
func (r *Root) bindOver(source, parent int, name, path string) error {
	target, err := linux.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT {
		target, err = linux.Openat(parent, name, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err == nil {
			r.note(parent, path)
		}
	}
	if err != nil {
		return fmt.Errorf("make mountpoint %s: %w", name, err)
	}
	defer unix.Close(target)
	var st unix.Stat_t
	if err := unix.Fstat(target, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return fmt.Errorf("mountpoint %s: is a symlink: %w", name, unix.ELOOP)
	}
	return bindFile(source, target)
}

// bindFile mounts the file source onto the file target.
func bindFile(source, target int) error {
	tree, err := linux.CloneTree(source, "", false)
	if err != nil {
		return fmt.Errorf("open_tree: %w", linux.NeedsKernel("5.12", err))
	}
	defer unix.Close(tree)
	if err := linux.Attach(tree, target); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// Links are the symlinks that are made in /dev in any case, beside core and ptmx.
var Links = [...]struct{ Name, Target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
}

// makeLinks makes the symlinks of runtime-linux.md, "Dev symbolic links", and
// those that runc makes too; what is there already stays. The exception is
// ptmx, which always leads to the container's own devpts.
func (r *Root) makeLinks(dev int) error {
	for _, l := range Links {
		if err := r.makeLink(dev, l.Target, l.Name); err != nil && err != unix.EEXIST {
			return fmt.Errorf("symlink /dev/%s: %w", l.Name, err)
		}
	}
	if core, err := linux.OpenInRoot(r.fd, "/proc/kcore", unix.O_PATH, 0); err == nil {
		unix.Close(core)
		if err := r.makeLink(dev, "/proc/kcore", "core"); err != nil && err != unix.EEXIST {
			return fmt.Errorf("symlink /dev/core: %w", err)
		}
	}
	err := r.makeLink(dev, "pts/ptmx", "ptmx")
	if err == unix.EEXIST {
		err = unix.Unlinkat(dev, "ptmx", 0)
		if err == unix.EBUSY {
			return nil // the config mounted something there itself
		}
		if err == nil {
			err = unix.Symlinkat("pts/ptmx", dev, "ptmx")
		}
	}
	if err != nil {
		return fmt.Errorf("symlink %s: %w", ptmx, err)
	}
	return nil
}

// makeLink makes a symlink in /dev.
func (r *Root) makeLink(dev int, target, name string) error {
	if err := unix.Symlinkat(target, dev, name); err != nil {
		return err
	}
	r.note(dev, "/dev", name)
	return nil
}

// openNull opens the container's /dev/null after a check that it is the real
// one (CVE-2025-31133). It returns ENOENT when there is none.
func (r *Root) openNull(flags int) (int, error) {
	fd, err := linux.OpenInRoot(r.fd, "/dev/null", flags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("fstat: %w", err)
	}
	if !isNull(&st) {
		unix.Close(fd)
		return -1, errors.New("is " + nodeName(st.Mode, uint64(st.Rdev)) + ", not the character device 1:3")
	}
	return fd, nil
}

func isNull(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && uint64(st.Rdev) == unix.Mkdev(1, 3)
}
