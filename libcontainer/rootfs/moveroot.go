package rootfs

import (
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// moveRoot is for --no-pivot: it moves the container's root mount onto / and
// changes root to it.
//
// The host's mounts stay below, out of reach but in the namespace. With a
// complete procfs or sysfs among them the kernel would allow the container to
// mount another without the masks, so these are unmounted or covered first.
func (r *Root) moveRoot() error {
	own, err := os.Readlink(fdPath(r.fd))
	if err != nil {
		return fmt.Errorf("path of the container's root: %w", err)
	}
	full, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		inside := m.Mountpoint == own || strings.HasPrefix(m.Mountpoint, own+"/")
		return inside || m.Root != "/" || (m.FSType != "proc" && m.FSType != "sysfs"), false
	})
	if err != nil {
		return fmt.Errorf("read mountinfo: %w", err)
	}
	for _, m := range full {
		if err := hide(m.Mountpoint); err != nil {
			return fmt.Errorf("hide the host's %s: %w", m.Mountpoint, err)
		}
	}
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("chdir to the container's root: %w", err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer unix.Close(root)
	if err := linux.Attach(r.fd, root); err != nil {
		return fmt.Errorf("move the container's root onto /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir /: %w", err)
	}
	return nil
}

// hide unmounts what is mounted at the host's path, or covers it where that is
// not permitted (in a user namespace the mounts are locked).
func hide(path string) error {
	fd, err := linux.Openat(unix.AT_FDCWD, path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT {
		return nil // it went with a mount above it
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer unix.Close(fd)
	if err := linux.SetMountAttr(fd, true, 0, 0, unix.MS_SLAVE); err != nil {
		return fmt.Errorf("make it a slave: %w", err)
	}
	err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil {
		return nil
	}
	if err != unix.EINVAL && err != unix.EPERM {
		return fmt.Errorf("umount: %w", err)
	}
	cover, err := linux.NewFilesystem("tmpfs", "tmpfs", nil, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(cover)
	if err := linux.Attach(cover, fd); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}
