package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// Copy copies a file or directory between the host and a container's root
// filesystem: one of the two is NAME:PATH. A destination that is a directory
// gets it with its own name. Symlinks in the container lead nowhere outside of
// it; the last part of the source is not followed. With archive owners are
// kept; else they are container root's, or the caller's.
//
// Each file is there wholly or not at all, also if this is killed, and what was
// there before is until then.
func (p *Preparer) Copy(ctx context.Context, from, to string, archive bool) error {
	use, err := p.Store.Use() // so that check knows who is still copying: nobody
	if err != nil {
		return err
	}
	defer use.Unlock()
	fname, fpath, fin := insidePath(from)
	tname, tpath, tin := insidePath(to)
	switch {
	case fin && tin:
		return errors.New("copy: both are in containers; one must be a path of the host")
	case !fin && !tin:
		return errors.New("copy: neither is NAME:PATH in a container")
	case fin:
		return p.withRootfs(fname, func(c *store.Container, root *os.File) error {
			o := layer.PackOptions{IDs: containerIDs(c)}
			if !archive {
				uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
				o.IDs = func(_, _ uint32) (uint32, uint32) { return uid, gid }
			}
			host, err := openPath("/")
			if err != nil {
				return err
			}
			defer host.Close()
			abs, err := filepath.Abs(to)
			if err != nil {
				return err
			}
			if strings.HasSuffix(to, "/") {
				abs += "/"
			}
			return copyBetween(ctx, root, fpath, true, host, abs, false, o, store.NewBeside())
		})
	}
	return p.withRootfs(tname, func(c *store.Container, root *os.File) error {
		if m, err := p.Store.ReadMounts(c.ID); err != nil {
			return err
		} else if c.Ephemeral && m.Total() == 1 {
			return fmt.Errorf("copy to container %q: it is ephemeral and not mounted, so that the copy would be gone at once; mount it first", c.Name)
		}
		uid, gid := mappedRoot(c)
		o := layer.PackOptions{IDs: func(_, _ uint32) (uint32, uint32) { return uint32(uid), uint32(gid) }}
		if archive {
			o.IDs = hostIDs(c)
		}
		host, err := openPath("/")
		if err != nil {
			return err
		}
		defer host.Close()
		abs, err := filepath.Abs(from)
		if err != nil {
			return err
		}
		beside, err := p.Store.Beside(c.ID)
		if err != nil {
			return err
		}
		return errors.Join(copyBetween(ctx, host, abs, false, root, tpath, true, o, beside), p.Store.Copied(c.ID, beside))
	})
}

// insidePath takes NAME:PATH apart. What has a slash before its first colon is
// a path of the host.
func insidePath(s string) (name, p string, in bool) {
	name, p, ok := strings.Cut(s, ":")
	if !ok || name == "" || strings.Contains(name, "/") || name == "." || name == ".." {
		return "", "", false
	}
	return name, p, true
}

// openAt opens a directory: below root as "/" if it is a container's, else as
// any path of the host.
func openAt(root *os.File, name string, inside bool) (*os.File, error) {
	var fd int
	var err error
	if inside {
		fd, err = linux.OpenInRoot(int(root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	} else {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func copyBetween(ctx context.Context, from *os.File, src string, srcInside bool, to *os.File, dst string, dstInside bool, o layer.PackOptions, beside string) error {
	cleanSrc := path.Clean("/" + src)
	sdir, err := openAt(from, path.Dir(cleanSrc), srcInside)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer sdir.Close()
	base := path.Base(cleanSrc)
	if cleanSrc == "/" {
		base = "."
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(sdir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("copy: %w", &os.PathError{Op: "stat", Path: src, Err: err})
	}
	// Into a directory that is there, or as a name in one.
	ddir, err := openAt(to, path.Clean("/"+dst), dstInside)
	name := path.Base(cleanSrc)
	if err != nil {
		if strings.HasSuffix(dst, "/") {
			return fmt.Errorf("copy: %w", err)
		}
		clean := path.Clean("/" + dst)
		name = path.Base(clean)
		if ddir, err = openAt(to, path.Dir(clean), dstInside); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
	}
	defer ddir.Close()
	if base == "." {
		return layer.CopyInto(ctx, sdir, ddir, o, beside)
	}
	var there unix.Stat_t
	err = unix.Fstatat(int(ddir.Fd()), name, &there, unix.AT_SYMLINK_NOFOLLOW)
	isDir := func(m uint32) bool { return m&unix.S_IFMT == unix.S_IFDIR }
	if err == nil && isDir(there.Mode) != isDir(st.Mode) {
		return fmt.Errorf("copy %s: %s is there, and only one of the two is a directory", src, name)
	}
	if err := layer.CopyEntry(ctx, sdir, base, ddir, name, o, beside); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}
