// copying.go: what a copy into a container that is killed may leave.

package store

import (
	"os"
	"path/filepath"
	"strings"
)

// besidePrefix begins every name of Beside.
const besidePrefix = ".gourd-copy-"

// copyingPrefix begins the files in a container's directory that say so.
const copyingPrefix = "copying-"

// NewBeside returns how the names begin of what a copy has not finished yet: no
// two copies have the same.
func NewBeside() string { return besidePrefix + newID()[:32] + "-" }

// Beside is NewBeside for a copy into a container, of which the store knows until
// Copied. The store must be in use.
func (s *Store) Beside(id string) (string, error) {
	beside := NewBeside()
	f, err := os.OpenFile(s.copying(id, beside), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	return beside, f.Close()
}

func (s *Store) copying(id, beside string) string {
	return s.ContainerDir(id) + "/" + copyingPrefix + strings.TrimPrefix(beside, besidePrefix)
}

// Copying lists the copies into a container that have not ended, by their Beside.
// If the store is owned they were killed.
func (s *Store) Copying(id string) ([]string, error) {
	marks, err := filepath.Glob(s.ContainerDir(id) + "/" + copyingPrefix + "*-")
	for i, m := range marks {
		marks[i] = besidePrefix + strings.TrimPrefix(filepath.Base(m), copyingPrefix)
	}
	return marks, err
}

// Copied says that a copy has ended, and nothing is left of it.
func (s *Store) Copied(id, beside string) error { return os.Remove(s.copying(id, beside)) }
