package cgroups

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// misc.go: the misc controller (cgroup-v2.rst, "Misc"). The config has no
// section of its own for it: its limits come through unified, "misc.max".

// MiscStats is the use of one scalar resource, such as sev or tdx: how much is
// in use, and how often the limit was met.
type MiscStats struct {
	Usage  uint64 `json:"usage"`
	Events uint64 `json:"events"`
}

func statMisc(dir int, s *Stats) error {
	err := eachKey(dir, "misc.current", func(key string, n uint64) {
		if s.Misc == nil {
			s.Misc = map[string]MiscStats{}
		}
		s.Misc[key] = MiscStats{Usage: n}
	})
	if err != nil {
		return err
	}
	err = eachKey(dir, "misc.events", func(key string, n uint64) {
		key, ok := strings.CutSuffix(key, ".max")
		m, known := s.Misc[key]
		if ok && known {
			m.Events = n
			s.Misc[key] = m
		}
	})
	if errors.Is(err, unix.ENOENT) { // kernels before 5.17
		return nil
	}
	return err
}
