package rootfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mrunalp/fileutils"
	"golang.org/x/sys/unix"
)

// copyUp copies what is in the directory from into the directory to, the root
// of a tmpfs that is not attached yet: contents, types, owners and modes; not
// times, and not extended attributes.
//
// For the copying, this thread's root is the directory from, and its working
// directory is to. So a symlink in from, even one swapped in under our hands,
// cannot lead out of it, and no path to either is needed.
func copyUp(from, to int) (err error) {
	// The other threads keep their root and working directory.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare CLONE_FS: %w", err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer unix.Close(root)
	cwd, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open working directory: %w", err)
	}
	defer unix.Close(cwd)
	defer func() {
		if back := enter(root, cwd); back != nil && err == nil {
			err = fmt.Errorf("return to the host's root: %w", back)
		}
	}()
	if err := enter(from, to); err != nil {
		return err
	}
	return filepath.WalkDir("/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == "/" {
			return nil
		}
		return copyEntry(path, path[1:])
	})
}

// enter makes root the thread's root and cwd its working directory.
func enter(root, cwd int) error {
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("fchdir: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := unix.Fchdir(cwd); err != nil {
		return fmt.Errorf("fchdir: %w", err)
	}
	return nil
}

// copyEntry copies one file. fileutils does it for what it knows to copy, and
// not for directories, FIFOs, sockets and character devices.
func copyEntry(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("lstat %s: no stat", from)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK:
		return fileutils.CopyFile(from, to)
	case unix.S_IFDIR:
		err = unix.Mkdir(to, 0o700)
	default:
		err = unix.Mknod(to, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return &os.PathError{Op: "make", Path: to, Err: err}
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: to, Err: err}
	}
	return nil
}
