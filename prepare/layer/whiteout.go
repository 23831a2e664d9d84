// whiteout.go: how a layer says what is gone: in a tar, and for overlayfs.

package layer

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Names that mean something in a layer's tar (image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // .wh..wh.plnk, .wh..wh.aufs: of aufs, mean nothing
)

// Namespace is where overlayfs keeps its marks: "trusted" for root's mounts,
// "user" for those of a user namespace (mount option userxattr).
type Namespace string

// The two namespaces.
const (
	Trusted Namespace = "trusted"
	User    Namespace = "user"
)

func (n Namespace) opaque() string { return string(n) + ".overlay.opaque" }

// whiteout makes overlayfs's mark for a name that lower layers have.
func (u *unpacker) whiteout(parent int, dir, base string) error {
	if base == "" || base == "." || base == ".." {
		return errors.New("a whiteout of no name")
	}
	u.sum.Whiteouts++
	err := unix.Mknodat(parent, base, unix.S_IFCHR, 0)
	if err == unix.EEXIST {
		// The same layer has the name, too: what it has hides what is below,
		// but a directory must not be merged with a lower one.
		return u.hideBelow(parent, path.Join(dir, base))
	}
	if err != nil {
		return &os.PathError{Op: "make whiteout", Path: path.Join(dir, base), Err: err}
	}
	return nil
}

// hideBelow makes an entry of this layer opaque, if it is a directory.
func (u *unpacker) hideBelow(parent int, name string) error {
	_, base := split(name)
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	return u.markOpaque(fd, name)
}

func (u *unpacker) opaque(parent int, dir string) error {
	u.sum.Whiteouts++
	fd, err := unix.Openat(parent, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return u.markOpaque(fd, dir)
}

func (u *unpacker) markOpaque(fd int, name string) error {
	if err := unix.Fsetxattr(fd, u.o.Overlay.opaque(), []byte("y"), 0); err != nil {
		return &os.PathError{Op: "mark opaque", Path: name, Err: err}
	}
	return nil
}

// OverlayXattr tells whether an extended attribute is overlayfs's own.
func OverlayXattr(key string) bool {
	return strings.HasPrefix(key, "trusted.overlay.") || strings.HasPrefix(key, "user.overlay.")
}
