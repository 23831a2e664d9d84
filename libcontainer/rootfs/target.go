package rootfs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// maxLinks is how many symlinks to something missing are followed while a
// mountpoint is made; the kernel's own limit is the same.
const maxLinks = 40

// pin opens m's destination, O_PATH, beneath the root. It returns ENOENT when
// there is none yet.
//
// A lookup that meets no symlink ends where the destination says, which
// Compile has checked. Where the image has symlinks on the way they are
// followed, inside the root, except for m.NoSymlinks; but then the end has to
// be checked again.
func (r *Root) pin(m *Mount) (int, error) {
	fd, err := linux.OpenInRoot(r.fd, m.Destination, unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
	if err != unix.ELOOP {
		return fd, err
	}
	if m.NoSymlinks {
		return -1, fmt.Errorf("it must be mounted on ordinary directory, and the destination is or is below a symlink: %w", err)
	}
	if fd, err = linux.OpenInRoot(r.fd, m.Destination, unix.O_PATH, 0); err != nil {
		return -1, err
	}
	if err := r.checkEnd(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// checkEnd refuses a target, reached through symlinks, that is the root or
// lies in the container's /proc.
func (r *Root) checkEnd(fd int) error {
	var root, st unix.Statx_t
	if err := statx(r.fd, &root); err != nil {
		return err
	}
	if err := statx(fd, &st); err != nil {
		return err
	}
	if st.Mnt_id == root.Mnt_id && st.Ino == root.Ino {
		return errors.New("the destination is a symlink to the container's root")
	}
	proc, err := linux.OpenInRoot(r.fd, "/proc", unix.O_PATH, 0)
	if err != nil {
		return nil // no /proc to fall into
	}
	defer unix.Close(proc)
	if on, err := linux.OnProcfs(proc); err != nil || !on {
		return err
	}
	var pst unix.Statx_t
	if err := statx(proc, &pst); err != nil {
		return err
	}
	if pst.Mnt_id == st.Mnt_id {
		return errors.New("the destination leads through a symlink into /proc")
	}
	return nil
}

func statx(fd int, st *unix.Statx_t) error {
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, st); err != nil {
		return fmt.Errorf("statx: %w", err)
	}
	return nil
}

// makeDir makes the directory path beneath the root, and what is missing on
// the way to it, with mode 0755, and returns it opened O_PATH. A directory
// that exists is returned as it is.
func (r *Root) makeDir(path string, noSymlinks bool) (int, error) {
	return r.makePath(path, true, noSymlinks)
}

// makeFile is makeDir for an empty file of mode 0644, which must not exist.
func (r *Root) makeFile(path string) (int, error) {
	return r.makePath(path, false, false)
}

func (r *Root) makePath(path string, dir, noSymlinks bool) (int, error) {
	for range maxLinks {
		fd, next, err := r.tryMake(path, dir, noSymlinks)
		if err != nil {
			return -1, err
		}
		if next == "" {
			return fd, nil
		}
		path = next
	}
	return -1, unix.ELOOP
}

// tryMake makes what is missing of path, one name at a time, each in the
// directory that was opened before. When a name turns out to be a symlink (to
// something missing, or else the kernel would have followed it) it returns
// the path to try instead.
func (r *Root) tryMake(path string, dir, noSymlinks bool) (fd int, next string, err error) {
	names := splitPath(path)
	var resolve uint64
	if noSymlinks {
		resolve = unix.RESOLVE_NO_SYMLINKS
	}
	last := len(names)
	if !dir {
		last--
	}
	cur, n, err := r.deepest(names[:max(last, 0)], resolve)
	if err != nil {
		return -1, "", err
	}
	for ; n < len(names); n++ {
		name := names[n]
		if name == ".." {
			unix.Close(cur)
			return -1, "", fmt.Errorf("%s: a symlink goes up from a directory that does not exist: %w", path, unix.ENOENT)
		}
		var sub int
		if !dir && n == len(names)-1 {
			sub, err = linux.Openat(cur, name, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644)
			if err == nil {
				r.note(cur, names[:n+1]...)
			}
		} else {
			if err = unix.Mkdirat(cur, name, 0o755); err == nil {
				r.note(cur, names[:n+1]...)
			}
			if err == nil || err == unix.EEXIST {
				sub, err = linux.Openat(cur, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
			}
		}
		if err == unix.ENOTDIR || err == unix.EEXIST || err == unix.ELOOP {
			if target, lerr := linux.Readlinkat(cur, name); lerr == nil && !noSymlinks {
				unix.Close(cur)
				return -1, splice(names, n, target), nil
			}
		}
		unix.Close(cur)
		if err != nil {
			return -1, "", fmt.Errorf("make /%s: %w", strings.Join(names[:n+1], "/"), err)
		}
		cur = sub
	}
	return cur, "", nil
}

// deepest opens the longest existing directory that names lead to from the
// root, and returns how many of them that takes.
func (r *Root) deepest(names []string, resolve uint64) (fd, n int, err error) {
	for n = len(names); ; n-- {
		fd, err = linux.OpenInRoot(r.fd, strings.Join(names[:n], "/"), unix.O_PATH|unix.O_DIRECTORY, resolve)
		if err == nil {
			return fd, n, nil
		}
		if err != unix.ENOENT || n == 0 {
			return -1, 0, fmt.Errorf("open /%s: %w", strings.Join(names[:n], "/"), err)
		}
	}
}

// splice puts the symlink's target in the place of names[n].
func splice(names []string, n int, target string) string {
	rest := strings.Join(names[n+1:], "/")
	if strings.HasPrefix(target, "/") {
		return target + "/" + rest
	}
	return "/" + strings.Join(names[:n], "/") + "/" + target + "/" + rest
}

// splitPath returns the names of path, without "." and empty ones. ".." stays:
// what it means depends on the symlinks before it.
func splitPath(path string) []string {
	var out []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			out = append(out, name)
		}
	}
	return out
}
