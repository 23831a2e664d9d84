package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// procRootIno is the inode number of the root of every procfs, and of nothing
// else in it (PROC_ROOT_INO, linux/proc_ns.h).
const procRootIno = 1

// PrivateProc returns the root of a procfs that nothing can be mounted over,
// for the pid namespace of the caller: a detached mount of its own. Where the
// kernel refuses one (a user namespace that sees only a masked procfs), it is
// the caller's /proc after a check that this is the root of a real procfs; as
// OpenBeneath does not cross mounts, what is mounted over its files fails to
// open rather than being used. Call it before the root is changed.
func PrivateProc() (int, error) {
	fd, err := NewFilesystem("proc", "", nil, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err == nil || !errors.Is(err, unix.EPERM) {
		return fd, err
	}
	fd, herr := HostProc()
	if herr != nil {
		return -1, fmt.Errorf("%w, and a private procfs is refused: %w", herr, err)
	}
	return fd, nil
}

// HostProc returns the caller's /proc, which must be the root of a real procfs.
func HostProc() (int, error) {
	fd, err := OpenNoSymlinks(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, fmt.Errorf("open /proc: %w", err)
	}
	ok, err := IsProcRoot(fd)
	if err == nil && !ok {
		err = errors.New("/proc is not the root of a procfs")
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// OnProcfs reports whether fd refers to a file of a procfs.
func OnProcfs(fd int) (bool, error) { return onFilesystem(fd, unix.PROC_SUPER_MAGIC) }

// OnSysfs reports whether fd refers to a file of a sysfs.
func OnSysfs(fd int) (bool, error) { return onFilesystem(fd, unix.SYSFS_MAGIC) }

func onFilesystem(fd int, magic int64) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return false, fmt.Errorf("fstatfs: %w", err)
	}
	return int64(fs.Type) == magic, nil
}

// IsProcRoot reports whether fd refers to the root of a procfs.
func IsProcRoot(fd int) (bool, error) {
	on, err := OnProcfs(fd)
	if err != nil || !on {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	return st.Ino == procRootIno, nil
}
