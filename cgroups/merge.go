package cgroups

import (
	"maps"
	"slices"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// merge returns change laid over old; neither is modified.
func merge(old, change *specs.LinuxResources) *specs.LinuxResources {
	m := *old
	m.Devices = mergeDevices(old.Devices, change.Devices)
	m.Memory = mergeMemory(old.Memory, change.Memory)
	m.CPU = mergeCPU(old.CPU, change.CPU)
	if change.Pids != nil && change.Pids.Limit != nil {
		m.Pids = change.Pids // here 0 is a limit
	}
	m.BlockIO = mergeIO(old.BlockIO, change.BlockIO)
	m.HugepageLimits = mergeList(old.HugepageLimits, change.HugepageLimits, func(l specs.LinuxHugepageLimit) string { return l.Pagesize })
	m.Rdma = mergeRDMA(old.Rdma, change.Rdma)
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
	if value(change.Limit) == -1 && value(change.Swap) == 0 {
		m.Swap = nil // both of them, as in v1, where swap could not be less than memory
	}
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

// mergeList returns old without the elements that change has anew, and change
// behind them.
func mergeList[T any, K comparable](old, change []T, key func(T) K) []T {
	if len(change) == 0 {
		return old
	}
	left := slices.DeleteFunc(slices.Clone(old), func(o T) bool {
		return slices.ContainsFunc(change, func(c T) bool { return key(o) == key(c) })
	})
	return append(left, change...)
}

// mergeDevices returns old and change behind it, without the rules of old that
// matter no more, so that the list does not grow with every update.
func mergeDevices(old, change []specs.LinuxDeviceCgroup) []specs.LinuxDeviceCgroup {
	if len(change) == 0 {
		return old
	}
	left := slices.DeleteFunc(slices.Clone(old), func(o specs.LinuxDeviceCgroup) bool {
		return slices.ContainsFunc(change, func(c specs.LinuxDeviceCgroup) bool { return voids(&c, &o) })
	})
	return append(left, change...)
}

// voids tells whether o, which stands before c, is of no effect any more. One
// that denies without naming a device also says where the defaults belong: only
// one that does so too, or that decides everything, makes it void.
func voids(c, o *specs.LinuxDeviceCgroup) bool {
	var known defect.List
	now, ok := parseRule(c, "", &known)
	was, okToo := parseRule(o, "", &known)
	if !ok || !okToo {
		return false
	}
	if !was.Allow && was.Major < 0 && was.Minor < 0 && now.Allow && (now.kind != 'a' || now.Access != all) {
		return false
	}
	return (now.kind == 'a' || now.kind == was.kind) && now.covers(&was.DeviceRule) && was.Access&^now.Access == 0
}

func mergeRDMA(old, change map[string]specs.LinuxRdma) map[string]specs.LinuxRdma {
	m := mergeMap(old, change)
	for dev, c := range change {
		c.HcaHandles, c.HcaObjects = cmpOr(c.HcaHandles, old[dev].HcaHandles), cmpOr(c.HcaObjects, old[dev].HcaObjects)
		m[dev] = c
	}
	return m
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
