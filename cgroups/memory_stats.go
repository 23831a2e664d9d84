package cgroups

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// MemoryStats is the memory that the container uses, in bytes. Swap is memory
// and swap together, as runc has it.
type MemoryStats struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     MemoryEntry       `json:"usage,omitzero"`
	Swap      MemoryEntry       `json:"swap,omitzero"`
	Kernel    MemoryEntry       `json:"kernel,omitzero"`
	KernelTCP MemoryEntry       `json:"kernelTCP,omitzero"`
	Raw       map[string]uint64 `json:"raw,omitempty"` // memory.stat
	PSI       *PSI              `json:"psi,omitempty"`
}

// MemoryEntry is one kind of memory, in bytes: its limit, the largest number
// where there is none, its use now and at most, and how often it met the limit.
type MemoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

func statMemory(dir int, s *Stats) (err error) {
	m := &s.Memory
	if m.PSI, err = readPSI(dir, "memory.pressure"); err != nil {
		return err
	}
	raw := map[string]uint64{}
	if err := eachKey(dir, "memory.stat", func(key string, n uint64) { raw[key] = n }); err != nil {
		return err
	}
	m.Raw, m.Cache = raw, raw["file"]
	if m.Usage, err = memoryEntry(dir, "memory"); err != nil {
		return err
	}
	if m.Usage.Failcnt, err = memoryEvent(dir, "max"); err != nil {
		return err
	}
	swap, err := memoryEntry(dir, "memory.swap")
	if errors.Is(err, unix.ENOENT) {
		return nil // no swap accounting
	}
	if err != nil {
		return err
	}
	// The peaks of both may have been at different times, so there is no sum.
	m.Swap = MemoryEntry{
		Limit: addSaturating(swap.Limit, m.Usage.Limit),
		Usage: addSaturating(swap.Usage, m.Usage.Usage),
	}
	return nil
}

// memoryEntry reads the files that begin with prefix. .peak is there from 5.19
// on for memory, and from 6.5 on for swap.
func memoryEntry(dir int, prefix string) (e MemoryEntry, err error) {
	if e.Usage, err = readUint(dir, prefix+".current"); err != nil {
		return e, err
	}
	if e.Limit, err = readUint(dir, prefix+".max"); err != nil {
		return e, err
	}
	e.Max, err = readOptional(dir, prefix+".peak")
	return e, err
}

// memoryEvent returns a counter of memory.events, 0 where the kernel has none.
func memoryEvent(dir int, key string) (n uint64, err error) {
	err = eachKey(dir, "memory.events", func(k string, v uint64) {
		if k == key {
			n = v
		}
	})
	return n, err
}

// OOMKills returns how many processes of the container the kernel has killed
// because there was no memory left for it, and 0 where the memory controller is
// not enabled. It can be asked until the cgroup is removed, also when the
// container has ended.
func (c *Cgroup) OOMKills() (uint64, error) {
	if c.fd < 0 {
		return 0, nil
	}
	n, err := memoryEvent(c.fd, "oom_kill")
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cgroup %s: %w", c.shown(), err)
	}
	return n, nil
}

// Watch waits for the OOM killer in a container.
type Watch struct {
	c             *Cgroup
	memory, procs int // memory.events, or -1, and cgroup.events
	removal       removalWatch
	seen          uint64
}

// WatchOOM begins to watch. Kills that were before are reported by the first
// Wait, also of a container that has ended. Without the memory controller none
// is ever reported, but the end is.
func (c *Cgroup) WatchOOM() (*Watch, error) {
	if err := c.check("watch"); err != nil {
		return nil, err
	}
	procs, err := openAt(c.fd, "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("watch cgroup %s: %w", c.shown(), err)
	}
	memory, err := openAt(c.fd, "memory.events", unix.O_RDONLY)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		unix.Close(procs)
		return nil, fmt.Errorf("watch cgroup %s: %w", c.shown(), err)
	}
	return &Watch{c: c, memory: memory, procs: procs, removal: watchRemoval(c.rec.Path)}, nil
}

// Wait blocks until the OOM killer has killed again, and returns how many
// processes since the last call; or until nothing is left in the cgroup, or the
// process of pidfd has ended, and returns ended. It may return both at once. A
// negative pidfd is nobody's. At the time until, unless that is zero, it returns
// nothing of all that.
func (w *Watch) Wait(pidfd int, until time.Time) (kills uint64, ended bool, err error) {
	for {
		if ended, err = w.ended(pidfd); err != nil {
			return 0, false, err
		}
		// Read after that, so that what killed the last process is not missed.
		if kills, err = w.kills(); err != nil || kills > 0 || ended {
			return kills, ended, err
		}
		timeout := -1
		if !until.IsZero() {
			left := time.Until(until)
			if left <= 0 {
				return 0, false, nil
			}
			timeout = milliseconds(left)
		}
		err := w.removal.poll(timeout, announced(w.procs), announced(w.memory), unix.PollFd{Fd: int32(pidfd), Events: unix.POLLIN})
		if err != nil {
			return 0, false, fmt.Errorf("watch cgroup %s: poll: %w", w.c.shown(), err)
		}
	}
}

// Told tells the watch how many processes have been killed in all, by someone
// who looked before the cgroup was removed, and returns how many of them Wait
// has not told.
func (w *Watch) Told(kills uint64) uint64 {
	return w.since(kills)
}

func (w *Watch) ended(pidfd int) (bool, error) {
	if pidfd >= 0 {
		list := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if n, err := unix.Poll(list, 0); n > 0 && err == nil {
			return true, nil
		}
	}
	data, err := readAll(w.procs, "cgroup.events")
	if gone(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("watch cgroup %s: %w", w.c.shown(), err)
	}
	return !flag(data, "populated"), nil
}

func (w *Watch) kills() (uint64, error) {
	if w.memory < 0 {
		return 0, nil
	}
	data, err := readAll(w.memory, "memory.events")
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("watch cgroup %s: %w", w.c.shown(), err)
	}
	v, ok := keyed(data, "oom_kill")
	if !ok {
		return 0, nil
	}
	now, err := limitNumber(string(v))
	if err != nil {
		return 0, fmt.Errorf("watch cgroup %s: memory.events: oom_kill: %w", w.c.shown(), err)
	}
	return w.since(now), nil
}

// since returns how many of the kills so far are new.
func (w *Watch) since(kills uint64) uint64 {
	if kills <= w.seen {
		return 0
	}
	n := kills - w.seen
	w.seen = kills
	return n
}

// Close ends the watch. It must not be called while Wait waits.
func (w *Watch) Close() error {
	w.removal.close()
	err := unix.Close(w.procs)
	if w.memory >= 0 {
		err = errors.Join(err, unix.Close(w.memory))
	}
	return err
}
