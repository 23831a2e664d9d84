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

// processName is the file with what `exec` needs of the config.
const processName = "process"

// SaveProcess writes what `exec` is to read again, which is up to the caller.
// It is not part of the record, which every verb reads. It is written once,
// before the record says Ready.
func (d *Dir) SaveProcess(data []byte) error {
	if err := d.mustLock("save"); err != nil {
		return err
	}
	path := filepath.Join(d.path, processName)
	fd, err := unix.Openat(d.FD(), processName, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("container %q: create %s: %w", d.id, path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("container %q: %w", d.id, err)
	}
	return nil
}

// LoadProcess reads what SaveProcess wrote, no lock needed. The error is
// fs.ErrNotExist if there is none.
func (d *Dir) LoadProcess() ([]byte, error) {
	path := filepath.Join(d.path, processName)
	fd, err := unix.Openat(d.FD(), processName, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", d.id, &fs.PathError{Op: "open", Path: path, Err: err})
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", d.id, err)
	}
	return data, nil
}
