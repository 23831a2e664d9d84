package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// CloneTree returns a detached copy of the mount that path lies on, with path
// as its root, and of the mounts below it when recursive (open_tree(2),
// OPEN_TREE_CLONE, Linux 5.2). With an empty path it is the file that dir
// itself refers to. Symlinks are followed. The error is an errno.
func CloneTree(dir int, path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	for {
		fd, err := unix.OpenTree(dir, path, flags)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Attach moves the mount that mnt refers to onto the very file that target
// refers to; no path is looked up (move_mount(2), Linux 5.2). When something
// is mounted there already, it goes on top. The error is an errno.
func Attach(mnt, target int) error {
	return unix.MoveMount(mnt, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// SetMountAttr changes the mount that fd is the root of, and those below it
// when recursive (mount_setattr(2), Linux 5.12): the MOUNT_ATTR_ bits set and
// clear, and the propagation type, one of MS_PRIVATE, MS_SLAVE, MS_SHARED,
// MS_UNBINDABLE or 0 for no change. Nothing is called when there is nothing to
// change. The error is an errno.
func SetMountAttr(fd int, recursive bool, set, clear, propagation uint64) error {
	if set == 0 && clear == 0 && propagation == 0 {
		return nil
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation})
}

// NeedsKernel adds to a "function not implemented" which kernel has it; any
// other error is returned as it is.
func NeedsKernel(version string, err error) error {
	if errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w (Linux %s or later is needed)", err, version)
	}
	return err
}
