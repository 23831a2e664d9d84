package cgroups

import (
	"fmt"
	"strconv"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// memory.go: the memory controller (cgroup-v2.rst, "Memory").

// compileMemory turns linux.resources.memory into the files to write, all in
// bytes. 0 is unset; -1 is no limit, which is what a new cgroup has anyway.
//
// The config's swap is memory and swap together, as in cgroup v1; memory.swap.max
// is swap alone.
func compileMemory(m *specs.LinuxMemory, d *defect.List) []Write {
	if m == nil {
		return nil
	}
	const at = "linux.resources.memory."
	refuseV1Memory(m, d)
	limit, reservation, swap := value(m.Limit), value(m.Reservation), value(m.Swap)
	for _, f := range [...]struct {
		name string
		v    int64
	}{{"limit", limit}, {"reservation", reservation}, {"swap", swap}} {
		if f.v < -1 {
			d.Add(at+f.name, "%d is neither a number of bytes nor -1 for no limit", f.v)
			return nil
		}
	}
	var ws []Write
	// Swap first: where both shrink, memory that no longer fits may still be
	// swapped out up to the new limit and no further.
	switch {
	case swap == -1, swap == 0 && limit == -1:
		from := at + "swap"
		if swap == 0 {
			from = at + "limit" // as in v1, where swap could not be less than memory
		}
		ws = append(ws, Write{Controller: "memory", File: "memory.swap.max", Value: "max", From: from, Optional: true})
	case swap == 0:
	case limit == 0:
		d.Add(at+"swap", "%d is the limit of memory and swap together, so it needs a memory.limit", swap)
	case limit > swap:
		d.Add(at+"swap", "%d is the limit of memory and swap together, and less than memory.limit, %d", swap, limit)
	default:
		w := Write{Controller: "memory", File: "memory.swap.max", Value: strconv.FormatInt(swap-max(limit, 0), 10), From: at + "swap"}
		// A kernel without swap accounting has no such file. Engines ask for
		// no swap wherever they limit memory, so that one is let pass there.
		w.Optional = w.Value == "0"
		ws = append(ws, w)
	}
	switch {
	case limit == -1:
		ws = append(ws, Write{Controller: "memory", File: "memory.max", Value: "max", From: at + "limit", Optional: true})
	case limit > 0:
		ws = append(ws, Write{Controller: "memory", File: "memory.max", Value: strconv.FormatInt(limit, 10), From: at + "limit"})
	}
	switch {
	case reservation == -1:
		// v1's "no soft limit" protected nothing, which is 0 here: "max" would
		// shield all of the container's memory from reclaim.
		ws = append(ws, Write{Controller: "memory", File: "memory.low", Value: "0", From: at + "reservation", Optional: true})
	case reservation > 0:
		ws = append(ws, Write{Controller: "memory", File: "memory.low", Value: strconv.FormatInt(reservation, 10), From: at + "reservation"})
	}
	return ws
}

// refuseV1Memory adds a defect for each setting that cgroup v2 does not have.
func refuseV1Memory(m *specs.LinuxMemory, d *defect.List) {
	const at = "linux.resources.memory."
	//lint:ignore SA1019 what is deprecated must still be refused
	if v := value(m.Kernel); v > 0 {
		d.Add(at+"kernel", "cgroup v2 has no limit for kernel memory of its own: memory.limit counts it in")
	}
	if v := value(m.KernelTCP); v > 0 {
		d.Add(at+"kernelTCP", "cgroup v2 has no limit for TCP buffers of its own: memory.limit counts them in")
	}
	// Engines send all bits set, -1 to them, for unset.
	if m.Swappiness != nil && *m.Swappiness != 0 && *m.Swappiness != ^uint64(0) {
		d.Add(at+"swappiness", "cgroup v2 has no swappiness of a cgroup (%d asked): use memory.swap or unified memory.swap.high", *m.Swappiness)
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		d.Add(at+"disableOOMKiller", "cgroup v2 cannot switch the OOM killer off: unified memory.high makes processes wait instead")
	}
	// useHierarchy true is what v2 always does, and false is unset: the spec's
	// own example has it.
}

// checkMemory refuses a limit that the cgroup exceeds already: v2 would accept
// it and then kill (runtime-spec, "checkBeforeUpdate"). That there may be more of
// memory and swap together does not help: whether there is swap to go to, nobody
// knows before.
func (c *Cgroup) checkMemory(p *Plan) error {
	if !p.CheckMemory || p.MemoryLimit <= 0 && p.MemorySwapLimit <= 0 {
		return nil
	}
	used, err := readUint(c.fd, "memory.current")
	if err != nil {
		return fmt.Errorf("%s: look how much is in use, as memory.checkBeforeUpdate asks: cgroup %s: %w", p.MemoryFrom, c.shown(), err)
	}
	if p.MemoryLimit > 0 && used >= uint64(p.MemoryLimit) {
		return fmt.Errorf("%s: %d bytes are in use in %s, and at most %d would be allowed (memory.checkBeforeUpdate is set): %w",
			p.MemoryFrom, used, c.shown(), p.MemoryLimit, unix.EBUSY)
	}
	// Without swap accounting there is no swap to count.
	swapped, _ := readUint(c.fd, "memory.swap.current")
	if p.MemorySwapLimit > 0 && used+swapped >= uint64(p.MemorySwapLimit) {
		return fmt.Errorf("%s: %d bytes of memory and swap are in use in %s, and at most %d would be allowed (memory.checkBeforeUpdate is set): %w",
			p.MemorySwapFrom, used+swapped, c.shown(), p.MemorySwapLimit, unix.EBUSY)
	}
	return nil
}

// value returns *p, or 0 for nil.
func value[T int64 | uint64 | uint16 | uint32](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
