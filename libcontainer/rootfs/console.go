package rootfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

const (
	ptsRootIno = 1 // inode number of a devpts' root (fs/devpts/inode.c)
	ptmxIno    = 2 // and of its ptmx
)

// Console makes a terminal of the container's own devpts as Terminal does, and
// mounts it on /dev/console. It follows Pivot.
func (r *Root) Console(width, height uint) (master, slave *os.File, err error) {
	defer trace.Begin("make the console").End()
	master, slave, err = Terminal(r.fd, width, height)
	if err != nil {
		return nil, nil, err
	}
	if err := r.mountConsole(slave); err != nil {
		master.Close()
		slave.Close()
		return nil, nil, fmt.Errorf("console: %w", err)
	}
	return master, slave, nil
}

func (r *Root) mountConsole(slave *os.File) error {
	dev, err := linux.OpenInRoot(r.fd, "/dev", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	defer unix.Close(dev)
	if err := r.bindOver(int(slave.Fd()), dev, "console", "/dev/console"); err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	return nil
}

// Terminal makes a terminal of the devpts on /dev/pts of the container whose
// root directory is given, of this size in characters unless both are 0. It
// returns both ends, close-on-exec, for the caller to close; the slave has not
// become the controlling terminal.
//
// The devpts is checked to be one, its ptmx to be the kernel's, and the slave
// comes from the master itself (TIOCGPTPEER): no path of the image decides
// which terminal this is (CVE-2025-52565).
func Terminal(root int, width, height uint) (master, slave *os.File, err error) {
	fd, err := openPtmx(root)
	if err != nil {
		return nil, nil, fmt.Errorf("console: /dev/pts/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	defer func() {
		if err != nil {
			master.Close()
			if slave != nil {
				slave.Close()
			}
			master, slave = nil, nil
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return master, nil, fmt.Errorf("console: unlock the terminal: %w", err)
	}
	peer, err := linux.PtyPeer(fd, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err != nil {
		return master, nil, fmt.Errorf("console: open the other end: %w", err)
	}
	slave = os.NewFile(uintptr(peer), "/dev/console")
	if width != 0 || height != 0 {
		size := unix.Winsize{Col: uint16(min(width, 0xffff)), Row: uint16(min(height, 0xffff))}
		if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size); err != nil {
			return master, slave, fmt.Errorf("console: set size %dx%d: %w", width, height, err)
		}
	}
	return master, slave, nil
}

// openPtmx opens a new master of the devpts mounted on /dev/pts. Nothing is
// opened but O_PATH before it is known to be the kernel's.
func openPtmx(root int) (int, error) {
	pts, err := linux.OpenInRoot(root, "/dev/pts", unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pts)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(pts, &fs); err != nil {
		return -1, fmt.Errorf("fstatfs: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(pts, &st); err != nil {
		return -1, fmt.Errorf("fstat: %w", err)
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC || st.Ino != ptsRootIno {
		return -1, fmt.Errorf("/dev/pts is not a devpts; a terminal needs one in mounts: %w", unix.ENODEV)
	}
	// OpenBeneath does not cross a mount: this is a file of that devpts.
	fd, err := linux.OpenBeneath(pts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW)
	if err == unix.EXDEV {
		return -1, fmt.Errorf("something is mounted over it: %w", err)
	}
	if err != nil {
		return -1, err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("fstat: %w", err)
	}
	if st.Ino != ptmxIno || st.Mode&unix.S_IFMT != unix.S_IFCHR || uint64(st.Rdev) != unix.Mkdev(5, 2) {
		unix.Close(fd)
		return -1, fmt.Errorf("is %s, not the character device 5:2", nodeName(st.Mode, uint64(st.Rdev)))
	}
	return fd, nil
}
