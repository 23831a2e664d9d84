// Package store keeps images, their layers and containers on disk, so that a
// process which is killed at any point, or a machine that loses power, leaves
// nothing that is taken for what it is not.
//
// The directory:
//
//	layers/KEY/      layer.json, diff/ or tar and erofs; "synced" once it is on disk
//	images/ID/       image.json, config.json
//	containers/ID/   meta.json, upper/, work/, bundle/
//	tmp/             what is being made, and what is being removed
//	leases           the addresses of containers
//
// A directory is made in tmp and renamed to its place when it is whole; it is
// removed by being renamed to tmp first. A file is replaced by a rename. So
// what is in its place is whole, but for power losses: what a layer holds has
// to reach the disk first. It is trusted as long as the machine has not been
// booted anew, and for ever once it is marked as synced, which import does
// when all its layers are there, with a single syncfs(2).
//
// Locks are flock(2)s, which end with their process: the store's (shared by
// who adds or uses, exclusive for who removes), that of the names, one for each
// layer that is being made, and one for each container.
//
// It mounts nothing and knows no registry.
package store

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/layer"
)

// format is what the file "format" of a store says.
type format struct {
	Version int             `json:"version"`
	Overlay layer.Namespace `json:"overlay"` // whose attributes the layers have
}

const version = 1

// Errors that callers ask for.
var (
	ErrNoImage     = errors.New("no such image")
	ErrNoContainer = errors.New("no such container")
	ErrNameTaken   = errors.New("the name is taken")
	ErrAmbiguous   = errors.New("several begin so")
)

// Store is an open store.
type Store struct {
	// Root lasts, Run does not: it is emptied by a reboot.
	Root, Run string
	// Overlay is the kind of attributes that the layers have.
	Overlay layer.Namespace

	dir  *os.File
	boot string
}

// Open opens a store and makes what is not there of it.
func Open(root, run string, ns layer.Namespace) (_ *Store, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if run, err = filepath.Abs(run); err != nil {
		return nil, err
	}
	for _, d := range []string{root, root + "/layers", root + "/images", root + "/containers", root + "/tmp", root + "/locks", run} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	// The runtime knows a bundle, and the kernel a mount, by their real paths.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if run, err = filepath.EvalSymlinks(run); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	dir, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{Root: root, Run: run, Overlay: ns, dir: dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.boot, err = linux.BootID(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	var f format
	switch err := readJSON(root+"/format", &f); {
	case errors.Is(err, os.ErrNotExist):
		if err := writeJSON(root+"/format", format{version, ns}); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case f.Version != version:
		return nil, fmt.Errorf("open store %s: it has version %d, this gourd knows %d", root, f.Version, version)
	case f.Overlay != ns:
		return nil, fmt.Errorf("open store %s: its layers are marked for %q mounts, not for %q; give another --store", root, f.Overlay, ns)
	}
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error { return s.dir.Close() }

// Lock is a flock that is held.
type Lock struct{ f *os.File }

// Unlock gives it up.
func (l *Lock) Unlock() { l.f.Close() }

func flock(name string, how int) (*Lock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return &Lock{f}, nil
		}
		if err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

// Use locks the store against removals, as long as something of it is used
// that nothing refers to yet.
func (s *Store) Use() (*Lock, error) { return flock(s.Root+"/locks/store", unix.LOCK_SH) }

// Own locks the store for removing things.
func (s *Store) Own() (*Lock, error) { return flock(s.Root+"/locks/store", unix.LOCK_EX) }

// TryOwn is Own, but does not wait; nil: somebody uses the store.
func (s *Store) TryOwn() (*Lock, error) {
	l, err := flock(s.Root+"/locks/store", unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return l, err
}

// lockNames locks the giving of names.
func (s *Store) lockNames() (*Lock, error) { return flock(s.Root+"/locks/names", unix.LOCK_EX) }

// LockLayer locks the making of one layer: the second who wants it waits, and
// finds it made. The store must be in use.
func (s *Store) LockLayer(key string) (*Lock, error) {
	return flock(s.Root+"/locks/layer-"+key, unix.LOCK_EX)
}

// newID returns 32 random bytes in hex.
func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Temp makes a directory in tmp; who makes it renames it to its place. The
// store must be in use.
func (s *Store) Temp() (string, error) {
	d := s.Root + "/tmp/" + newID()
	if err := os.Mkdir(d, 0o700); err != nil {
		return "", err
	}
	return d, nil
}

// Discard removes a path of the store: by a rename first, so that it is gone
// at once.
func (s *Store) Discard(name string) error {
	if !strings.HasPrefix(name, s.Root+"/tmp/") {
		to := s.Root + "/tmp/" + newID()
		if err := os.Rename(name, to); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		name = to
	}
	tmp, err := os.Open(s.Root + "/tmp")
	if err != nil {
		return err
	}
	defer tmp.Close()
	return linux.RemoveTree(int(tmp.Fd()), filepath.Base(name))
}

// place renames a whole directory to where it is looked for.
func (s *Store) place(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// maxJSON is how long a file of the store may be.
const maxJSON = 16 << 20

func readJSON(name string, v any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJSON))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// writeJSON replaces a file, or leaves it as it is.
func writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(name, append(data, '\n'), 0o600)
}

// WriteFile replaces a file, or leaves it as it is, also when the power fails.
func WriteFile(name string, data []byte, perm os.FileMode) (err error) {
	tmp := name + ".new-" + newID()[:16]
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil {
		if err = f.Chmod(perm); err == nil {
			err = f.Sync()
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// ids lists the directory entries of a part of the store.
func (s *Store) ids(part string) ([]string, error) {
	d, err := os.Open(s.Root + "/" + part)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
