// mounts.go: how often a container is mounted.

package store

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Mounts is what mounts.json in a container's run directory says. It counts for
// the boot it was written in only.
type Mounts struct {
	Boot string `json:"boot"`
	// Count is how many mounts are to be taken back by somebody.
	Count int `json:"count"`
	// Held are the processes that want it mounted only while they live, as one
	// that copies: what is killed holds nothing.
	Held []Process `json:"held,omitempty"`
	// How says how it was mounted, for people: "overlay", "bind", "fuse-overlayfs".
	How string `json:"how,omitempty"`
	// Root is the root directory of what was mounted. It is kept when that is
	// unmounted below a container that runs.
	Root File `json:"root,omitzero"`
}

// Process is a process that no later one is mistaken for.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks after boot
}

// File is which file something is, while its file system is mounted.
type File struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// StatFile tells which file a path leads to.
func StatFile(name string) (File, error) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return File{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return File{st.Dev, st.Ino}, nil
}

// FindProcess is the process that has a pid now.
func FindProcess(pid int) (Process, error) {
	st, err := linux.ReadProcStat(pid)
	return Process{pid, st.Start}, err
}

// Ended tells whether a process is there no more.
func (p Process) Ended() bool {
	st, err := linux.ReadProcStat(p.PID)
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || err == nil && (st.Start != p.Start || st.Ended())
}

// Total is how many want it mounted.
func (m *Mounts) Total() int { return m.Count + len(m.Held) }

// Add counts one more, which by holds unless it is nil.
func (m *Mounts) Add(by *Process) {
	if by == nil {
		m.Count++
		return
	}
	m.Held = append(m.Held, *by)
}

// Take takes one back.
func (m *Mounts) Take(by *Process) {
	if by != nil {
		if i := slices.Index(m.Held, *by); i >= 0 {
			m.Held = slices.Delete(m.Held, i, i+1)
		}
		return
	}
	m.Count = max(m.Count-1, 0)
}

// ReadMounts returns the count of a container, of processes that live; none is
// a count of 0.
func (s *Store) ReadMounts(id string) (Mounts, error) {
	var m Mounts
	err := readJSON(s.RunDir(id)+"/mounts.json", &m)
	if errors.Is(err, os.ErrNotExist) || err == nil && m.Boot != s.boot {
		return Mounts{Boot: s.boot}, nil
	}
	m.Held = slices.DeleteFunc(m.Held, Process.Ended)
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
