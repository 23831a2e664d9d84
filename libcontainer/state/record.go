package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

// Load reads the record, no lock needed. The error is ErrNoRecord if there is
// none or it cannot be read as one, ErrNotExist if the directory is gone.
func (d *Dir) Load() (*Record, error) {
	defer trace.Begin("read the record").End()
	path := filepath.Join(d.path, recordName)
	fd, err := unix.Openat(d.FD(), recordName, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT {
		// A directory without a record is half-made, unless it was removed
		// after it was opened.
		if _, err := os.Lstat(d.path); errors.Is(err, fs.ErrNotExist) {
			return nil, notExist(d.id)
		}
		return nil, fmt.Errorf("container %q %w", d.id, ErrNoRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: open %s: %w", d.id, path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", d.id, err)
	}
	r := new(Record)
	if err := spec.DecodeInto(data, r); err != nil {
		return nil, fmt.Errorf("container %q %w: %s: %w", d.id, ErrNoRecord, path, err)
	}
	if r.Version > version {
		// Not ErrNoRecord: there may well be a container, and whoever takes
		// it for half-made and removes the record loses it.
		return nil, fmt.Errorf("container %q: %s has version %d, and this gourd reads up to %d: use the newer one that made it", d.id, path, r.Version, version)
	}
	if r.Version < 1 {
		return nil, fmt.Errorf("container %q %w: %s has no version", d.id, ErrNoRecord, path)
	}
	if r.ID != d.id {
		return nil, fmt.Errorf("container %q %w: %s is of %q", d.id, ErrNoRecord, path, r.ID)
	}
	return r, nil
}

// Save replaces the record, which only the holder of the lock may do. Readers
// find the old one or the new one, never a part.
//
// Nothing is synced to disk: the root is a tmpfs, and wherever it is, after a
// crash of the machine the record's container is gone, which the boot id tells.
func (d *Dir) Save(r *Record) error {
	defer trace.Begin("write the record").End()
	if err := d.mustLock("save"); err != nil {
		return err
	}
	r.Version = version
	data, err := spec.Encode(r)
	if err != nil {
		return fmt.Errorf("container %q: encode its record: %w", d.id, err)
	}
	path := filepath.Join(d.path, newName)
	fd, err := unix.Openat(d.FD(), newName, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("container %q: create %s: %w", d.id, path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("container %q: %w", d.id, err)
	}
	if err := unix.Renameat(d.FD(), newName, d.FD(), recordName); err != nil {
		return fmt.Errorf("container %q: rename %s to %s: %w", d.id, path, recordName, err)
	}
	return nil
}
