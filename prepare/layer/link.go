// link.go: hard links, also to files of the layers below.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// link makes a hard link to another entry, of this layer or a lower one.
func (u *unpacker) link(h *tar.Header, parent int, name, base string) error {
	target, err := linkTarget(h, name)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	dir, tbase := split(target)
	err = u.linkTo(dir, tbase, parent, name, base)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		if u.o.Base {
			return fmt.Errorf("hard link to %q, which is not there: %w", h.Linkname, err)
		}
		if err := u.copyUp(target); err != nil {
			return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
		}
		// copyUp may have made directories: look the parent up anew.
		pdir, _ := split(name)
		if parent, err = u.enter(pdir); err != nil {
			return err
		}
		err = u.linkTo(dir, tbase, parent, name, base)
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return nil
}

func (u *unpacker) linkTo(dir, tbase string, parent int, name, base string) error {
	tfd, err := openDir(u.root, dir)
	if err != nil {
		return err
	}
	defer unix.Close(tfd)
	var st unix.Stat_t
	if err := unix.Fstatat(tfd, tbase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errors.New("it is a directory")
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 && !u.o.Plain {
		return errors.New("this layer deletes it")
	}
	return u.fresh(parent, name, base, func() error { return unix.Linkat(tfd, tbase, parent, base, 0) })
}

// copyUp copies a file of a lower layer into this one, under the same name, as
// overlayfs does before it makes a hard link.
func (u *unpacker) copyUp(name string) error {
	if u.o.Parents == nil {
		return ErrNeedsParents
	}
	u.sum.Dependent = true
	low, err := lookup(u.o.Parents, u.o.Overlay, name)
	if err != nil {
		return err
	}
	if low == nil {
		return fmt.Errorf("no layer has it: %w", unix.ENOENT)
	}
	defer unix.Close(low.fd)
	h, err := low.header(name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return errors.New("it is a directory")
	}
	var content io.Reader
	if h.Typeflag == tar.TypeReg {
		f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", low.fd))
		if err != nil {
			return err
		}
		defer f.Close()
		content = f
	}
	dir, base := split(name)
	parent, err := u.enter(dir)
	if err != nil {
		return err
	}
	return u.make(h, content, parent, name, base)
}
