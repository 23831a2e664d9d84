package state

import (
	"encoding/json"
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
	s := new(stored)
	r := &s.Record
	if err := spec.DecodeInto(data, s); err != nil {
		return nil, fmt.Errorf("container %q %w: %w", d.id, ErrNoRecord, spec.In(path, err))
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
	r.Ready = string(s.Ready) == "1" || string(s.Ready) == "true" // as it was written before it was one byte
	return r, nil
}

// stored is a record as its file has it: whether it is ready comes first, for
// MarkReady to find.
type stored struct {
	Ready json.RawMessage `json:"ready"`
	Record
}

const (
	storedAs = `{"ready":0,`
	readyAt  = int64(len(storedAs)) - 2
)

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
	text, err := spec.Encode(r)
	if err != nil {
		return fmt.Errorf("container %q: encode its record: %w", d.id, err)
	}
	head := []byte(storedAs)
	if r.Ready {
		head[readyAt] = '1'
	}
	path := filepath.Join(d.path, newName)
	fd, err := unix.Openat(d.FD(), newName, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("container %q: create %s: %w", d.id, path, err)
	}
	err = writeAll(fd, head, text[1:], []byte("\n"))
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("container %q: write %s: %w", d.id, path, err)
	}
	if err := unix.Renameat(d.FD(), newName, d.FD(), recordName); err != nil {
		return fmt.Errorf("container %q: rename %s to %s: %w", d.id, path, recordName, err)
	}
	return nil
}

// MarkReady makes the record that was saved last one of a container whose create
// has finished. Only the holder of the lock may. It is one byte, of which readers
// find the old or the new one.
func (d *Dir) MarkReady(r *Record) error {
	if err := d.mustLock("mark ready"); err != nil {
		return err
	}
	path := filepath.Join(d.path, recordName)
	fd, err := unix.Openat(d.FD(), recordName, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == nil {
		_, err = unix.Pwrite(fd, []byte("1"), readyAt)
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("container %q: write %s: %w", d.id, path, err)
	}
	r.Ready = true
	return nil
}

// writeAll writes the parts, in one call unless there is a disk that fills up.
func writeAll(fd int, parts ...[]byte) error {
	for len(parts) > 0 {
		n, err := unix.Writev(fd, parts)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for len(parts) > 0 && n >= len(parts[0]) {
			n -= len(parts[0])
			parts = parts[1:]
		}
		if len(parts) > 0 {
			parts[0] = parts[0][n:]
		}
	}
	return nil
}
