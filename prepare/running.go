// running.go: whether a container runs, whoever has started it.

package prepare

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/store"
)

// ErrRunning says that a container has processes.
var ErrRunning = errors.New("it runs")

// Root is the root directory of a process.
type Root struct {
	store.File
	store.Process
}

// Roots are the root directories of the processes that this one may look at, but
// for those that have its own. A container that runs is found by them: its state
// may lie below any root directory of any runtime, and may be lost.
func Roots() ([]Root, error) {
	own, err := store.StatFile("/")
	if err != nil {
		return nil, err
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []Root
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		// It may have ended, or be somebody else's.
		if err := unix.Fstatat(int(proc.Fd()), n+"/root", &st, 0); err != nil {
			continue
		}
		f := store.File{Dev: st.Dev, Ino: st.Ino}
		if f == own {
			continue
		}
		if process, err := store.FindProcess(pid); err == nil {
			all = append(all, Root{f, process})
		}
	}
	return all, nil
}

// process returns a process whose root directory is a container's root
// filesystem; 0: there is none. The container may be mounted or not.
func (p *Preparer) process(c *store.Container) (int, error) {
	m, _ := p.Store.ReadMounts(c.ID) // one that cannot be read is check's to tell
	is := []store.File{m.Root}
	at, err := store.StatFile(p.rootfs(c))
	switch {
	case err == nil:
		is = append(is, at)
	case !errors.Is(err, os.ErrNotExist):
		return 0, err
	}
	roots, err := Roots()
	if err != nil {
		return 0, fmt.Errorf("look for the container's processes: %w", err)
	}
	for _, r := range append(roots, p.Outside...) {
		if !slices.Contains(is, r.File) || r.Ended() {
			continue
		}
		if r.File != at {
			// The kernel gives the numbers of what is unmounted to others.
			if other, err := p.mountedAs(r.File, c.ID); err != nil || other {
				if err != nil {
					return 0, err
				}
				continue
			}
		}
		return r.PID, nil
	}
	return 0, nil
}

// mountedAs tells whether another container is mounted with this root directory.
func (p *Preparer) mountedAs(f store.File, but string) (bool, error) {
	ids, err := p.Store.ContainerIDs()
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		if id == but {
			continue
		}
		if at, err := store.StatFile(p.Store.Bundle(id) + "/rootfs"); err == nil && at == f {
			return true, nil
		}
	}
	return false, nil
}

// refuseRunning is an error if a container runs.
func (p *Preparer) refuseRunning(c *store.Container) error {
	pid, err := p.process(c)
	if err == nil && pid != 0 {
		err = fmt.Errorf("%w: process %d; stop it first", ErrRunning, pid)
	}
	return err
}

// runningOn returns the name of a container that runs and has a layer; "": none.
func (p *Preparer) runningOn(key string) (string, error) {
	all, err := p.Store.Containers()
	if err != nil {
		return "", err
	}
	for i := range all {
		c := &all[i]
		if !slices.Contains(c.Layers, key) {
			continue
		}
		if pid, err := p.process(c); err != nil || pid != 0 {
			return c.Name, err
		}
	}
	return "", nil
}
