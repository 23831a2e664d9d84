package cgroups

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// pids.go: the pids controller (cgroup-v2.rst, "PID").

// compilePids turns linux.resources.pids into the files to write. A negative
// limit means no limit; 0 is the least that can run, 1: systemd refuses 0, and
// the kernel enforces both alike, on fork.
func compilePids(p *specs.LinuxPids) []Write {
	if p == nil || p.Limit == nil {
		return nil
	}
	w := Write{Controller: "pids", File: "pids.max", Value: "max", From: "linux.resources.pids.limit"}
	if *p.Limit < 0 {
		w.Optional = true
	} else {
		w.Value = strconv.FormatInt(max(*p.Limit, 1), 10)
	}
	return []Write{w}
}
