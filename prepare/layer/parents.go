// parents.go: the directories that lead to an entry.

package layer

import (
	"archive/tar"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// ErrNeedsParents says that a layer cannot be unpacked by itself: it has a hard
// link to a file of a lower layer, or an entry in a directory that it does not
// describe, so that a lower layer does.
var ErrNeedsParents = errors.New("the layer depends on the layers below it")

// enter returns the directory of an entry, making what is missing of it. The
// descriptor is good until the next call.
func (u *unpacker) enter(name string) (int, error) {
	if u.parentFD >= 0 && u.parent == name {
		return u.parentFD, nil
	}
	u.leave()
	fd, err := openDir(u.root, name)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		if err := u.imply(name); err != nil {
			return -1, err
		}
		fd, err = openDir(u.root, name)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open directory", Path: name, Err: err}
	}
	u.parent, u.parentFD = name, fd
	return fd, nil
}

func (u *unpacker) leave() {
	if u.parentFD >= 0 {
		unix.Close(u.parentFD)
		u.parentFD = -1
	}
}

// imply makes the directories that lead to an entry and that the tar does not
// describe (yet): they are as the layers below have them, or root's, 0755.
func (u *unpacker) imply(name string) error {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		dir, base := split(name[:i])
		fd, err := openDir(u.root, dir)
		if err != nil {
			return &os.PathError{Op: "open directory", Path: dir, Err: err}
		}
		var st unix.Stat_t
		made := false
		// A symlink of this layer that leads to a directory is followed.
		serr := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if serr == unix.ENOENT || serr == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			made, err = u.mkdir(fd, name[:i], base)
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
		if !made {
			continue
		}
		if err := u.inherit(name[:i]); err != nil {
			return err
		}
	}
	return nil
}

// epoch are the times of a directory that no layer describes.
var epoch = time.Unix(0, 0)

// inherit decides what an implied directory is to be like.
func (u *unpacker) inherit(name string) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}
	if u.o.Base {
		u.sum.Implied = true
	} else {
		if u.o.Parents == nil {
			// The tar may still describe it, but then after its entries, which
			// no tool does.
			return ErrNeedsParents
		}
		u.sum.Dependent = true
		low, err := lookup(u.o.Parents, u.o.Overlay, name)
		if err != nil {
			return err
		}
		if low != nil {
			defer unix.Close(low.fd)
			if low.st.Mode&unix.S_IFMT == unix.S_IFDIR {
				if h, err = low.header(name); err != nil {
					return err
				}
			}
		}
	}
	u.dirs[name] = h
	return nil
}

// reopen opens a directory that this layer has made.
func (u *unpacker) reopen(name string) (int, error) {
	if name == "" {
		name = "."
	}
	return linux.OpenInRoot(u.root, name, unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
}

// openDir finds a directory of the layer. Symlinks of the layer's own are
// followed, with its root as "/".
func openDir(root int, name string) (int, error) {
	if name == "" {
		name = "."
	}
	return linux.OpenInRoot(root, name, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
}
