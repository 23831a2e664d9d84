package rootfs

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// legacyMount returns a detached mount of a new filesystem, made with
// mount(2): it takes a page of parameters where fsconfig(2) takes 255 bytes
// for each, as a long lowerdir of overlay needs, and it has flags that
// fsconfig has not (silent, iversion).
//
// mount(2) takes a path. It gets one in a small tmpfs of our own, named by
// file descriptor through the host's /proc, so that no path of the container
// is looked up. The tmpfs lies over the container's root mount, which is
// private, for these few calls.
func (r *Root) legacyMount(m *Mount, params []Param) (int, error) {
	scratch, err := linux.NewFilesystem("tmpfs", "gourd", []Param{{Key: "mode", Value: "0700"}}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("scratch mount: %w", err)
	}
	defer unix.Close(scratch)
	if err := unix.Mkdirat(scratch, "m", 0o700); err != nil {
		return -1, fmt.Errorf("scratch mount: mkdir: %w", err)
	}
	if err := linux.Attach(scratch, r.fd); err != nil {
		return -1, fmt.Errorf("scratch mount: move_mount: %w", err)
	}
	fd, err := mountIn(scratch, m, params)
	if uerr := unix.Unmount(fdPath(scratch), unix.MNT_DETACH); uerr != nil && err == nil {
		unix.Close(fd)
		return -1, fmt.Errorf("scratch mount: umount: %w", uerr)
	}
	return fd, err
}

func mountIn(scratch int, m *Mount, params []Param) (int, error) {
	flags := m.LegacyFlags | mountFlags(m.Set)&^unix.MS_RDONLY
	for _, p := range params {
		if p.Flag {
			flags |= superFlag(p.Key)
		}
	}
	source := m.Source
	if source == "" {
		source = "none"
	}
	data := legacyData(params)
	if err := unix.Mount(source, fdPath(scratch)+"/m", m.Type, uintptr(flags), data); err != nil {
		return -1, fmt.Errorf("mount %s %s: %w", m.Type, data, err)
	}
	top, err := linux.Openat(scratch, "m", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, fmt.Errorf("scratch mount: open: %w", err)
	}
	defer unix.Close(top)
	fd, err := linux.CloneTree(top, "", false)
	if err != nil {
		return -1, fmt.Errorf("open_tree: %w", err)
	}
	// MS_RDONLY is of filesystem and mount both; m.Set knows which is meant.
	if err := linux.SetMountAttr(fd, false, m.Set, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR__ATIME, 0); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("mount_setattr: %w", err)
	}
	return fd, nil
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
