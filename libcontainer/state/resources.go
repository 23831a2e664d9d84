package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	resourcesName = "resources"     // the limits in force
	newResources  = "resources.new" // becomes resourcesName
)

// LockUpdate waits until no other update of the container is under way, and
// keeps others out until the file is closed. It is not the container's lock,
// which start holds while hooks run that may want to update their container, but
// one on the file of SaveProcess: that is never replaced.
func (d *Dir) LockUpdate() (*os.File, error) {
	f, err := d.open(processName, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("container %q: lock %s: %w", d.id, f.Name(), err)
		}
	}
}

// SaveResources replaces what LoadResources returns; readers find the old or the
// new. Whoever makes the container may do that, and the holder of LockUpdate.
func (d *Dir) SaveResources(data []byte) error {
	f, err := d.open(newResources, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = unix.Renameat(d.FD(), newResources, d.FD(), resourcesName)
	}
	if err != nil {
		return fmt.Errorf("container %q: save %s: %w", d.id, filepath.Join(d.path, resourcesName), err)
	}
	return nil
}

// LoadResources reads what SaveResources wrote last; nothing if it never has.
func (d *Dir) LoadResources() ([]byte, error) {
	f, err := d.open(resourcesName, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", d.id, err)
	}
	return data, nil
}

// open opens one of the directory's files. The error is ErrNotExist if the
// directory itself is gone.
func (d *Dir) open(name string, flags int) (*os.File, error) {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.FD(), name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err == unix.ENOENT && flags&unix.O_CREAT != 0 {
		return nil, notExist(d.id)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", d.id, &fs.PathError{Op: "open", Path: path, Err: err})
	}
	return os.NewFile(uintptr(fd), path), nil
}
