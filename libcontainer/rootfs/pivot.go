package rootfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Pivot makes the container's root this process's root and takes the host's
// away: with pivot_root(2), or, for --no-pivot, by moving the mount and
// chroot(2); in a mount namespace of others it is chroot(2) alone. Then process.cwd
// is made where it is missing, while the root is writable; and a stdin, stdout or
// stderr that is the host's /dev/null becomes the container's.
func (r *Root) Pivot() error {
	defer trace.Begin("change the root").End()
	var err error
	switch {
	case r.plan.Shared:
		err = r.enterShared()
	case r.plan.NoPivot:
		err = r.moveRoot()
	default:
		err = r.pivotRoot()
	}
	if err != nil {
		return err
	}
	if err := r.makeCwd(); err != nil {
		return fmt.Errorf("process.cwd %s: %w", r.plan.Cwd, err)
	}
	return r.reopenNull()
}

func (r *Root) pivotRoot() error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer unix.Close(old)
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("chdir to the container's root: %w", err)
	}
	// The old root ends up on top of the new one, so that no directory for it
	// is needed (pivot_root(2), NOTES).
	if err := unix.PivotRoot(".", "."); err != nil {
		if err == unix.EINVAL {
			return fmt.Errorf("pivot_root: %w (on an initramfs only --no-pivot works)", err)
		}
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return fmt.Errorf("chdir to the old root: %w", err)
	}
	if !r.cutOff() {
		// Slave, so that unmounting does not reach the host; not private,
		// which would keep the host's mounts busy here until we are done.
		if err := linux.SetMountAttr(old, true, 0, 0, unix.MS_SLAVE); err != nil {
			return fmt.Errorf("make the old root a slave: %w", err)
		}
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("umount the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir /: %w", err)
	}
	return nil
}

// cutOff reports whether Open has made every mount of the host a slave or
// private already.
func (r *Root) cutOff() bool {
	p := r.plan.Propagation
	return p == 0 || p&unix.MS_REC != 0 && p&unix.MS_SHARED == 0
}

// makeCwd makes process.cwd, and what is missing on the way to it. Any other
// trouble with it is for the one to meet who goes there, with the ids of the
// container's process.
func (r *Root) makeCwd() error {
	if r.plan.Cwd == "" {
		return nil
	}
	fd, err := linux.OpenInRoot(r.fd, r.plan.Cwd, unix.O_PATH, 0)
	if err == nil {
		return unix.Close(fd)
	}
	if err != unix.ENOENT {
		return nil
	}
	defer unix.Umask(unix.Umask(0))
	if fd, err = r.makeDir(r.plan.Cwd, false); err != nil {
		return err
	}
	return unix.Close(fd)
}

// reopenNull replaces each standard descriptor that is a /dev/null by the
// container's own, so that nothing of the host's stays open. Without one in
// the container they stay.
func (r *Root) reopenNull() error {
	null := -1
	defer func() {
		if null >= 0 {
			unix.Close(null)
		}
	}()
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			if err == unix.EBADF {
				continue
			}
			return fmt.Errorf("fstat fd %d: %w", fd, err)
		}
		if !isNull(&st) {
			continue
		}
		if null < 0 {
			var err error
			if null, err = r.openNullRW(); errors.Is(err, unix.ENOENT) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("the container's /dev/null: %w", err)
			}
		}
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("dup3: %w", err)
		}
	}
	return nil
}

// openNullRW opens the container's /dev/null for use. It is checked before it
// is opened, as opening some other device may have effects, and after, as it
// may have been swapped; until then it must not block, as a FIFO would.
func (r *Root) openNullRW() (int, error) {
	fd, err := r.openNull(unix.O_PATH)
	if err != nil {
		return -1, err
	}
	unix.Close(fd)
	if fd, err = r.openNull(unix.O_RDWR | unix.O_NONBLOCK); err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("fcntl: %w", err)
	}
	return fd, nil
}
