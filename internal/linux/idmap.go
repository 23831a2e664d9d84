package linux

import "golang.org/x/sys/unix"

// MapMountIDs maps the ids of the detached mount that fd is the root of, and of
// those below it when recursive, by the user namespace of the file userns
// (mount_setattr(2), MOUNT_ATTR_IDMAP, Linux 5.12). The error is an errno.
func MapMountIDs(fd int, recursive bool, userns int) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)})
}
