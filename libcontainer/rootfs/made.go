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

// Made is a file that has been made on the host: where somebody else may find it
// when the container is gone.
type Made struct {
	On   string // the host directory of the bind mount that it is on; "" is the root filesystem
	Path string // below that
}

// Made returns what has been made, in order, on the root filesystem itself and on
// the volumes that are bound below it: mountpoints, and nodes and links where /dev
// is no mount of its own. A create that fails removes them again, by RemoveMade.
func (r *Root) Made() []Made { return r.made }

// note notes that the file of these names has been made in dir.
func (r *Root) note(dir int, names ...string) {
	var st unix.Statx_t
	if r.mountID == 0 {
		if statx(r.fd, &st) != nil {
			return
		}
		r.mountID = st.Mnt_id
	}
	if statx(dir, &st) != nil {
		return
	}
	file := "/" + strings.TrimPrefix(path.Join(names...), "/")
	if st.Mnt_id == r.mountID {
		r.made = append(r.made, Made{Path: file})
		return
	}
	// What is on a new filesystem goes with it.
	if m := over(r.plan.Mounts, file); m != nil && m.Kind == Bind {
		r.made = append(r.made, Made{m.Source, strings.TrimPrefix(file, m.Destination)})
	}
}

// MadeAt is where a file would be made on the host that is made at this path of
// the container when the first n mounts are there, and no symlink leads to it; ok
// is false if it would go with a new filesystem.
func (p *Plan) MadeAt(file string, n int) (made Made, ok bool) {
	return MadeOn(over(p.Mounts[:n], file), file)
}

// MadeOn is MadeAt for a file that is on this mount; nil is the root.
func MadeOn(m *Mount, file string) (made Made, ok bool) {
	switch {
	case m == nil:
		return Made{Path: file}, true
	case m.Kind == Bind:
		return Made{m.Source, strings.TrimPrefix(file, m.Destination)}, true
	}
	return Made{}, false
}

// over returns the mount that a file is on, by their paths; nil is the root.
func over(mounts []Mount, file string) *Mount {
	var on *Mount
	for i := range mounts {
		m := &mounts[i]
		if m.Kind != Remount && strings.HasPrefix(file, m.Destination+"/") && (on == nil || len(m.Destination) >= len(on.Destination)) {
			on = m
		}
	}
	return on
}

// RemoveMade removes what Made told, from outside: the container is gone, and
// with it the mounts on these paths. What somebody has put something into
// meanwhile, a hook for example, stays.
func RemoveMade(rootfs string, made []Made) error {
	var errs []error
	for _, m := range slices.Backward(made) {
		dir := m.On
		if dir == "" {
			dir = rootfs
		}
		if err := removeBelow(dir, m.Path); err != nil {
			errs = append(errs, fmt.Errorf("remove %s from %s: %w", m.Path, dir, err))
		}
	}
	return errors.Join(errs...)
}

func removeBelow(dir, file string) error {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	return removeMade(root, file)
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
