package linux

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// RemoveTree removes name in the directory dir and all that is below it. It
// follows no symlink and stops at a mount point (EXDEV or EBUSY): what is
// mounted there is not its to remove. A name that does not exist is removed.
// The error unwraps to an errno.
func RemoveTree(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	// For a directory it is EISDIR, or EPERM as POSIX has it.
	if err != unix.EISDIR && err != unix.EPERM {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	rerr := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	switch rerr {
	case nil, unix.ENOENT:
		return nil
	case unix.ENOTEMPTY, unix.EEXIST:
	case unix.ENOTDIR:
		return &os.PathError{Op: "remove", Path: name, Err: err}
	default:
		return &os.PathError{Op: "remove", Path: name, Err: rerr}
	}
	if err := EmptyDir(dir, name); err != nil {
		return err
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

// EmptyDir removes all that is below the directory name in dir, as RemoveTree
// does, but keeps the directory itself, with its inode.
func EmptyDir(dir int, name string) error {
	fd, err := OpenBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, n := range names {
			if err := RemoveTree(fd, n); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
