package cgroups

import (
	"errors"
	"math"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// pids.go: the pids controller (cgroup-v2.rst, "PID").

// compilePids turns linux.resources.pids into the files to write. A negative
// limit means no limit; 0 is the least that can run, 1: systemd refuses 0, and
// the kernel enforces both alike, on fork. But engines also send 0 for a limit
// that nobody has asked for: it is no reason to refuse a container on a host
// without the pids controller.
func compilePids(p *specs.LinuxPids) []Write {
	if p == nil || p.Limit == nil {
		return nil
	}
	w := Write{Controller: "pids", File: "pids.max", Value: "max", From: "linux.resources.pids.limit"}
	w.Optional = *p.Limit <= 0
	if *p.Limit >= 0 {
		w.Value = strconv.FormatInt(max(*p.Limit, 1), 10)
	}
	return []Write{w}
}

// PidsStats counts the tasks of the container; a Limit of 0 is none.
type PidsStats struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

func (c *Cgroup) statPids(dir int, s *Stats) error {
	n, err := readUint(dir, "pids.current")
	if errors.Is(err, unix.ENOENT) { // no controller; the processes can still be counted
		pids, err := c.Procs()
		s.Pids.Current = uint64(len(pids))
		return err
	}
	if err != nil {
		return err
	}
	s.Pids.Current = n
	if n, err = readUint(dir, "pids.max"); err == nil && n != math.MaxUint64 {
		s.Pids.Limit = n
	}
	return err
}
