package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Procs returns the pids of the processes in the cgroup and below it, in
// ascending order. A process of a pid namespace that gourd cannot see has none
// and is left out.
func (c *Cgroup) Procs() ([]int, error) {
	if c.fd < 0 {
		return nil, nil
	}
	var pids []int
	err := walk(c.fd, func(dir int) error {
		data, err := readAt(dir, "cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil // a threaded cgroup; its processes show in the domain above
		}
		if err != nil {
			return err
		}
		pids, err = parsePids(pids, data)
		return err
	}, nil)
	if gone(err) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", c.rec.Path, err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func parsePids(pids []int, data []byte) ([]int, error) {
	for line := range bytes.Lines(data) {
		pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
		if err != nil {
			return nil, err
		}
		if pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Signal sends sig to every process in and below the cgroup once. A process
// that is born meanwhile may be missed; Kill misses none.
func (c *Cgroup) Signal(sig unix.Signal) error {
	if c.absent {
		return c.check("signal")
	}
	pids, err := c.Procs()
	if err != nil {
		return err
	}
	// A pid may be used again after it was listed. So each is pinned first, and
	// only those that a second list still shows are signalled: a pinned process
	// is either the one listed, or dead.
	type pinned struct{ pid, fd int }
	var held []pinned
	defer func() {
		for _, p := range held {
			unix.Close(p.fd)
		}
	}()
	for _, pid := range pids {
		fd, err := linux.PidfdOpen(pid)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return fmt.Errorf("signal cgroup %s: pidfd of %d: %w", c.rec.Path, pid, err)
		}
		held = append(held, pinned{pid, fd})
	}
	if pids, err = c.Procs(); err != nil {
		return err
	}
	var errs []error
	for _, p := range held {
		if _, ok := slices.BinarySearch(pids, p.pid); !ok {
			continue
		}
		if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("signal %d of cgroup %s: %w", p.pid, c.rec.Path, err))
		}
	}
	return errors.Join(errs...)
}

// Add moves the process pid, with all its threads, into the cgroup. It is for
// kernels without CLONE_INTO_CGROUP (before 5.7).
func (c *Cgroup) Add(pid int) error {
	if err := c.check("join"); err != nil {
		return err
	}
	if err := writeAt(c.fd, "cgroup.procs", strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("put process %d into cgroup %s: %w", pid, c.rec.Path, err)
	}
	return nil
}

// Sub opens the sub-cgroup at the relative path sub for CLONE_INTO_CGROUP; ""
// and "/" are the cgroup itself. It must exist.
func (c *Cgroup) Sub(sub string) (*os.File, error) {
	if err := c.check("open"); err != nil {
		return nil, err
	}
	rel := path.Clean("/" + sub)[1:]
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd := -1
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat2(c.fd, rel, &how)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open sub-cgroup %q of %s: %w", sub, c.rec.Path, err)
	}
	return os.NewFile(uintptr(fd), path.Join(c.rec.Path, rel)), nil
}
