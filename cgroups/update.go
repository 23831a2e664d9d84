package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Changes is a plan to change the limits of a cgroup that is in use. It is
// plain data.
type Changes struct {
	Plan Plan // only what is to be written
	// Devices tells whether the device program changes too.
	Devices bool
	// Back are the values before, to be written again if one of Plan's is
	// refused.
	Back []Write
}

// Update lays change over old, the resources so far, and returns them together,
// for the record, with the plan to get there. What change does not name, or
// names as unset (0 or empty), stays; -1 takes a limit away. Limits of devices,
// page sizes and unified keys are replaced one by one. Device rules are put
// behind the old ones, so that they have the last word; a list that begins with
// a rule for all devices makes the old ones void.
func Update(old, change *specs.LinuxResources, e Env, d *defect.List) (*specs.LinuxResources, Changes) {
	if old == nil {
		old = &specs.LinuxResources{}
	}
	if change == nil {
		change = &specs.LinuxResources{}
	}
	merged := merge(old, change)
	var c Changes
	c.Plan = Plan{Root: e.Root, Required: true, Rootless: e.Rootless}
	compileResources(merged, &c.Plan, d)
	var before, asked Plan
	var ignored defect.List // what is wrong with the whole is told above
	compileResources(old, &before, &ignored)
	compileResources(change, &asked, &ignored)
	c.Plan.Writes = changed(c.Plan.Writes, before.Writes, asked.Writes)
	c.Plan.Late = changed(c.Plan.Late, before.Late, asked.Late)
	c.Back = slices.Concat(undone(before.Writes, c.Plan.Writes), undone(before.Late, c.Plan.Late))
	if len(change.Devices) > 0 {
		c.Devices = true
		c.Plan.Devices = compileDevices(merged.Devices, d)
	}
	if e.Systemd {
		c.Plan.Manager = ManagerSystemd
		c.Plan.Scope.Properties, c.Plan.Scope.Late = properties(c.Plan.Writes, d), properties(c.Plan.Late, d)
	}
	return merged, c
}

// changed returns those of ws that set what was asked for, or that were not
// before.
func changed(ws, before, asked []Write) []Write {
	return slices.DeleteFunc(ws, func(w Write) bool {
		was := slices.ContainsFunc(before, func(b Write) bool { return b.target() == w.target() && b.Value == w.Value })
		return was && !sets(asked, w.target())
	})
}

// undone returns those of before that set what ws sets too.
func undone(before, ws []Write) (out []Write) {
	for _, b := range before {
		if sets(ws, b.target()) {
			out = append(out, b)
		}
	}
	return out
}

func sets(ws []Write, target string) bool {
	return slices.ContainsFunc(ws, func(w Write) bool { return w.target() == target })
}

// target tells what w sets: the file, or the part of it that is of one device,
// or one of a device's limits.
func (w *Write) target() string {
	switch w.File {
	case "io.max":
		if key, _, ok := strings.Cut(w.Value, "="); ok {
			return w.File + " " + key
		}
	case "io.weight", "io.bfq.weight", "rdma.max":
		if dev, _, ok := strings.Cut(w.Value, " "); ok {
			return w.File + " " + dev
		}
	}
	return w.File
}

// Update carries out ch. If a value is refused, those that were written are set
// back to what the container had before, as far as it had asked for something.
func (c *Cgroup) Update(ch *Changes) error {
	if err := c.check("limit"); err != nil {
		return err
	}
	p := &ch.Plan
	if len(p.Writes)+len(p.Late) > 0 {
		if err := c.Enable(p); err != nil {
			return err
		}
	}
	if err := c.checkControllers(p); err != nil {
		return err
	}
	if slices.ContainsFunc(p.Writes, func(w Write) bool { return w.File == "memory.max" || w.File == "memory.swap.max" }) {
		if err := c.checkMemory(p); err != nil {
			return err
		}
	}
	if ch.Devices {
		if err := c.attachDevices(&p.Devices, p.Rootless); err != nil {
			return err
		}
	}
	err := c.apply(p.Writes)
	if err == nil {
		err = c.apply(p.Late)
	}
	if err == nil {
		return nil
	}
	for i := range ch.Back {
		if errBack := c.write(&ch.Back[i]); errBack != nil {
			err = errors.Join(err, fmt.Errorf("set back: %w", errBack))
		}
	}
	return err
}

// merge returns change laid over old; neither is modified.
func merge(old, change *specs.LinuxResources) *specs.LinuxResources {
	m := *old
	m.Devices = slices.Concat(old.Devices, change.Devices)
	m.Memory = mergeMemory(old.Memory, change.Memory)
	m.CPU = mergeCPU(old.CPU, change.CPU)
	if change.Pids != nil && change.Pids.Limit != nil {
		m.Pids = change.Pids // here 0 is a limit
	}
	m.BlockIO = mergeIO(old.BlockIO, change.BlockIO)
	m.HugepageLimits = mergeList(old.HugepageLimits, change.HugepageLimits, func(l specs.LinuxHugepageLimit) string { return l.Pagesize })
	if change.Network != nil {
		m.Network = change.Network // to be refused
	}
	m.Rdma = mergeMap(old.Rdma, change.Rdma)
	m.Unified = mergeMap(old.Unified, change.Unified)
	return &m
}

func mergeMemory(old, change *specs.LinuxMemory) *specs.LinuxMemory {
	if old == nil || change == nil {
		return cmpOr(change, old)
	}
	m := *old
	set(&m.Limit, change.Limit)
	set(&m.Reservation, change.Reservation)
	set(&m.Swap, change.Swap)
	//lint:ignore SA1019 what is deprecated must still be refused
	set(&m.Kernel, change.Kernel)
	set(&m.KernelTCP, change.KernelTCP)
	set(&m.Swappiness, change.Swappiness)
	m.DisableOOMKiller = cmpOr(change.DisableOOMKiller, m.DisableOOMKiller)
	m.UseHierarchy = cmpOr(change.UseHierarchy, m.UseHierarchy)
	m.CheckBeforeUpdate = cmpOr(change.CheckBeforeUpdate, m.CheckBeforeUpdate)
	return &m
}

func mergeCPU(old, change *specs.LinuxCPU) *specs.LinuxCPU {
	if old == nil || change == nil {
		return cmpOr(change, old)
	}
	m := *old
	set(&m.Shares, change.Shares)
	set(&m.Quota, change.Quota)
	set(&m.Period, change.Period)
	set(&m.RealtimeRuntime, change.RealtimeRuntime)
	set(&m.RealtimePeriod, change.RealtimePeriod)
	m.Burst = cmpOr(change.Burst, m.Burst) // 0 is a value of these two
	m.Idle = cmpOr(change.Idle, m.Idle)
	if change.Cpus != "" {
		m.Cpus = change.Cpus
	}
	if change.Mems != "" {
		m.Mems = change.Mems
	}
	return &m
}

func mergeIO(old, change *specs.LinuxBlockIO) *specs.LinuxBlockIO {
	if old == nil || change == nil {
		return cmpOr(change, old)
	}
	m := *old
	set(&m.Weight, change.Weight)
	set(&m.LeafWeight, change.LeafWeight)
	m.WeightDevice = mergeList(old.WeightDevice, change.WeightDevice, func(w specs.LinuxWeightDevice) [2]int64 { return [2]int64{w.Major, w.Minor} })
	throttles := func(old, change []specs.LinuxThrottleDevice) []specs.LinuxThrottleDevice {
		return mergeList(old, change, func(t specs.LinuxThrottleDevice) [2]int64 { return [2]int64{t.Major, t.Minor} })
	}
	m.ThrottleReadBpsDevice = throttles(old.ThrottleReadBpsDevice, change.ThrottleReadBpsDevice)
	m.ThrottleWriteBpsDevice = throttles(old.ThrottleWriteBpsDevice, change.ThrottleWriteBpsDevice)
	m.ThrottleReadIOPSDevice = throttles(old.ThrottleReadIOPSDevice, change.ThrottleReadIOPSDevice)
	m.ThrottleWriteIOPSDevice = throttles(old.ThrottleWriteIOPSDevice, change.ThrottleWriteIOPSDevice)
	return &m
}

// set lays a number over another one, unless it is unset.
func set[T int64 | uint64 | uint16](to **T, v *T) {
	if v != nil && *v != 0 {
		*to = v
	}
}

// cmpOr returns the first pointer that is not nil.
func cmpOr[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// mergeList returns old with the elements of change, each in the place of the
// one that has its key.
func mergeList[T any, K comparable](old, change []T, key func(T) K) []T {
	if len(change) == 0 {
		return old
	}
	out := slices.Clone(old)
	for _, c := range change {
		if i := slices.IndexFunc(out, func(o T) bool { return key(o) == key(c) }); i >= 0 {
			out[i] = c
			continue
		}
		out = append(out, c)
	}
	return out
}

func mergeMap[V any](old, change map[string]V) map[string]V {
	if len(change) == 0 {
		return old
	}
	out := maps.Clone(old)
	if out == nil {
		out = make(map[string]V, len(change))
	}
	maps.Copy(out, change)
	return out
}
