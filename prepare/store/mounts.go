// mounts.go: how often a container is mounted.

package store

import (
	"errors"
	"os"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Mounts is what mounts.json in a container's run directory says. It counts for
// the boot it was written in only.
type Mounts struct {
	Boot  string `json:"boot"`
	Count int    `json:"count"`
	// How says how it was mounted, for people: "overlay", "bind", "fuse-overlayfs".
	How string `json:"how,omitempty"`
}

// ReadMounts returns the count of a container; none is a count of 0.
func (s *Store) ReadMounts(id string) (Mounts, error) {
	var m Mounts
	err := readJSON(s.RunDir(id)+"/mounts.json", &m)
	if errors.Is(err, os.ErrNotExist) || err == nil && m.Boot != s.boot {
		return Mounts{Boot: s.boot}, nil
	}
	return m, err
}

// WriteMounts sets the count. The container must be locked.
func (s *Store) WriteMounts(id string, m Mounts) error {
	if err := os.MkdirAll(s.RunDir(id), 0o700); err != nil {
		return err
	}
	m.Boot = s.boot
	return writeJSON(s.RunDir(id)+"/mounts.json", m)
}

func removeTree(dir *os.File, name string) error { return linux.RemoveTree(int(dir.Fd()), name) }
