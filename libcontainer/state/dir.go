package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

const (
	recordName = "state.json"
	newName    = "state.json.new" // becomes recordName
	gateName   = "gate"
	sockName   = "notify.sock" // made by package notify
)

// Dir is an open state directory. It must be closed.
type Dir struct {
	id     string
	path   string
	file   *os.File
	locked bool
}

// Reserve makes the state directory of a new container, <root>/<id> with mode
// 0700, and takes its lock. root is made if need be. Removing the directory
// is added to undo. The error is ErrExist if the id is in use.
func Reserve(root, id string, undo *cleanup.Stack) (*Dir, error) {
	defer trace.Begin("reserve the id").End()
	if err := ValidID(id); err != nil {
		return nil, err
	}
	path := filepath.Join(root, id)
	for {
		if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrNotExist) {
			// The sticky bit tells whoever tidies $XDG_RUNTIME_DIR to leave
			// the files alone (XDG Base Directory Specification).
			if err := os.MkdirAll(root, 0o700|os.ModeSticky); err != nil {
				return nil, fmt.Errorf("make the state root: %w", err)
			}
			continue
		} else if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%w: %q", ErrExist, id)
		} else if err != nil {
			return nil, fmt.Errorf("make the state directory: %w", err)
		}
		d, err := Open(root, id)
		if err == nil {
			if err = d.Lock(); err == nil {
				undo.Add("remove the state directory "+path, d.Remove)
				return d, nil
			}
			d.Close()
		}
		// In the instant between mkdir and the lock, `delete --force` may
		// have taken this for a half-made container and removed it.
		if !errors.Is(err, ErrNotExist) {
			return nil, errors.Join(err, os.Remove(path))
		}
	}
}

// Open opens the state directory of an existing container, without its lock.
// The error is ErrNotExist if there is none.
func Open(root, id string) (*Dir, error) {
	if err := ValidID(id); err != nil {
		return nil, err
	}
	path := filepath.Join(root, id)
	// Not os.OpenFile, which asks Go's poller to watch a directory.
	fd, err := linux.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, notExist(id)
	}
	if err != nil {
		return nil, fmt.Errorf("open the state directory: open %s: %w", path, err)
	}
	return &Dir{id: id, path: path, file: os.NewFile(uintptr(fd), path)}, nil
}

// List returns the ids of all containers below root, sorted, half-made ones
// included. A root that does not exist has none.
func List(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the state root: %w", err)
	}
	ids := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() && ValidID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// ID returns the container's id.
func (d *Dir) ID() string { return d.id }

// Path returns the path of the directory.
func (d *Dir) Path() string { return d.path }

// FD returns the directory's fd, which stays d's.
func (d *Dir) FD() int { return int(d.file.Fd()) }

// Lock waits for the container's lock and takes it, for as long as d is open.
// The error is ErrNotExist if the container was deleted in the meantime, also
// if there is a new one of the same id.
func (d *Dir) Lock() error {
	defer trace.Begin("lock the container").End()
	for {
		err := unix.Flock(d.FD(), unix.LOCK_EX)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return fmt.Errorf("container %q: lock %s: %w", d.id, d.path, err)
		}
	}
	var own, there unix.Stat_t
	if err := unix.Fstat(d.FD(), &own); err != nil {
		return fmt.Errorf("container %q: stat its state directory: %w", d.id, err)
	}
	// An open directory's inode number is not given to another, so that these
	// two decide it on every file system; a link count would not.
	err := unix.Lstat(d.path, &there)
	if err == unix.ENOENT || err == nil && (own.Ino != there.Ino || own.Dev != there.Dev) {
		return notExist(d.id)
	}
	if err != nil {
		return fmt.Errorf("container %q: stat %s: %w", d.id, d.path, err)
	}
	d.locked = true
	return nil
}

// Unlock gives the lock up before Close: a run in the foreground keeps the
// directory open for as long as the container lives.
func (d *Dir) Unlock() error {
	d.locked = false
	if err := unix.Flock(d.FD(), unix.LOCK_UN); err != nil {
		return fmt.Errorf("container %q: unlock %s: %w", d.id, d.path, err)
	}
	return nil
}

// MakeGate makes the gate and returns it locked. The lock belongs to the open
// file description, which is to be handed to init and closed everywhere else:
// it ends when init executes the user's program, or dies.
//
// note is kept in it: what a later command has to know if create is killed
// before there is a record.
func (d *Dir) MakeGate(note string) (*os.File, error) {
	fd, err := unix.Openat(d.FD(), gateName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	path := filepath.Join(d.path, gateName)
	if err != nil {
		return nil, fmt.Errorf("container %q: make %s: %w", d.id, path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err = linux.LockOFD(f); err == nil && note != "" {
		_, err = f.WriteString(note)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("container %q: %w", d.id, err)
	}
	return f, nil
}

// Note returns the note of MakeGate; "" if there is no gate.
func (d *Dir) Note() (string, error) {
	f, err := d.openGate()
	if f == nil || err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return "", fmt.Errorf("container %q: read %s: %w", d.id, f.Name(), err)
	}
	return string(text), nil
}

// openGate returns nil without an error if there is no gate.
func (d *Dir) openGate() (*os.File, error) {
	fd, err := unix.Openat(d.FD(), gateName, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	path := filepath.Join(d.path, gateName)
	if err != nil {
		return nil, fmt.Errorf("container %q: open %s: %w", d.id, path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// gateHeld tells whether init holds the gate.
func (d *Dir) gateHeld() (bool, error) {
	f, err := d.openGate()
	if f == nil || err != nil {
		return false, err
	}
	defer f.Close()
	held, err := linux.OFDHeld(f)
	if err != nil {
		return false, fmt.Errorf("container %q: %w", d.id, err)
	}
	return held, nil
}

// AwaitGate waits until init no longer holds the gate. Start calls it when
// init has told its end: the kernel closes a process' files one after the
// other, and the status is to be "running" for whoever asks after start.
func (d *Dir) AwaitGate() error {
	defer trace.Begin("wait for the gate's lock").End()
	f, err := d.openGate()
	if f == nil || err != nil {
		return err
	}
	defer f.Close()
	if err := linux.AwaitOFD(f); err != nil {
		return fmt.Errorf("container %q: %w", d.id, err)
	}
	return nil
}

// Remove removes the directory with all that is in it, which only the holder
// of the lock may do. The lock is kept until Close, so that whoever waits for
// it learns that the container is gone.
func (d *Dir) Remove() error {
	defer trace.Begin("remove the state directory").End()
	if err := d.mustLock("remove"); err != nil {
		return err
	}
	// The record first: no reader finds one whose gate is already gone.
	for _, name := range [...]string{recordName, newName, gateName, sockName, processName, resourcesName, newResources, oomName} {
		if err := unix.Unlinkat(d.FD(), name, 0); err != nil && err != unix.ENOENT {
			return fmt.Errorf("container %q: remove %s/%s: %w", d.id, d.path, name, err)
		}
	}
	err := unix.Rmdir(d.path)
	if err == unix.ENOTEMPTY || err == unix.EEXIST {
		return os.RemoveAll(d.path) // somebody left something there
	}
	if err != nil {
		return fmt.Errorf("container %q: remove %s: %w", d.id, d.path, err)
	}
	return nil
}

// Close gives up the lock and closes the directory.
func (d *Dir) Close() error {
	d.locked = false
	return d.file.Close()
}

func (d *Dir) mustLock(what string) error {
	if !d.locked {
		return fmt.Errorf("container %q: %s its state without holding the lock", d.id, what)
	}
	return nil
}
