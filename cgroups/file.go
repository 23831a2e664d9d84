package cgroups

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// ignoringEINTR calls f until it ends with something else than EINTR.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// openAt opens name below dir without following a symlink (cgroupfs has none).
// The error is a *fs.PathError of the name alone: callers say which cgroup.
func openAt(dir int, name string, flags int) (int, error) {
	fd := -1
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// readAt returns the whole of the file name below dir.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readAll(fd, name)
}

// readAll returns the file behind fd from its start, with pread so that it can
// be read again: a cgroup file shows its present state at every such read.
func readAll(fd int, name string) ([]byte, error) {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n := 0
		err := ignoringEINTR(func() (err error) {
			n, err = unix.Pread(fd, buf[len(buf):cap(buf)], int64(len(buf)))
			return err
		})
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

// writeAt writes value into the existing file name below dir, in one write:
// cgroup files take one command a write.
func writeAt(dir int, name, value string) error {
	fd, err := openAt(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = ignoringEINTR(func() error {
		_, err := unix.Write(fd, []byte(value))
		return err
	})
	if err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}
