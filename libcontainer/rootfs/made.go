package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Made returns the paths of what has been made on the root filesystem itself,
// in order: mountpoints, and nodes and links where /dev is no mount. A create
// that fails removes them again, by RemoveMade. What was made on a volume that
// is mounted below the root is not among them.
func (r *Root) Made() []string { return r.made }

// note notes that the file of these names has been made in dir.
func (r *Root) note(dir int, names ...string) {
	var st unix.Statx_t
	if r.mountID == 0 {
		if statx(r.fd, &st) != nil {
			return
		}
		r.mountID = st.Mnt_id
	}
	if statx(dir, &st) == nil && st.Mnt_id == r.mountID {
		r.made = append(r.made, "/"+strings.TrimPrefix(path.Join(names...), "/"))
	}
}

// RemoveMade removes what Made told, from outside: the container is gone, and
// with it the mounts on these paths. What somebody has put something into
// meanwhile, a hook for example, stays.
func RemoveMade(rootfs string, made []string) error {
	if len(made) == 0 {
		return nil
	}
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", rootfs, err)
	}
	defer unix.Close(root)
	var errs []error
	for _, p := range slices.Backward(made) {
		if err := removeMade(root, p); err != nil {
			errs = append(errs, fmt.Errorf("remove %s from %s: %w", p, rootfs, err))
		}
	}
	return errors.Join(errs...)
}

func removeMade(root int, p string) error {
	dir, name := path.Split(p)
	parent, err := linux.OpenInRoot(root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	defer unix.Close(parent)
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	flags := 0
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		flags = unix.AT_REMOVEDIR
	case unix.S_IFREG:
		if st.Size > 0 {
			return nil
		}
	}
	err = unix.Unlinkat(parent, name, flags)
	if err == unix.ENOTEMPTY || err == unix.ENOENT {
		return nil
	}
	return err
}
