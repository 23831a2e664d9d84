package cgroups

import (
	"math"
	"strconv"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cpu.go: the cpu controller (cgroup-v2.rst, "CPU").

// compileCPU turns linux.resources.cpu, without cpus and mems, into the files
// to write. Times are in microseconds; 0 is unset, and a quota of -1 is none.
func compileCPU(c *specs.LinuxCPU, d *defect.List) []Write {
	if c == nil {
		return nil
	}
	const at = "linux.resources.cpu."
	if v := value(c.RealtimeRuntime); v != 0 && v != -1 {
		d.Add(at+"realtimeRuntime", "cgroup v2 has no limit for realtime processes")
	}
	if value(c.RealtimePeriod) != 0 {
		d.Add(at+"realtimePeriod", "cgroup v2 has no limit for realtime processes")
	}
	return append(compileWeight(c, d), compileQuota(c, d)...)
}

const sharesFrom = "linux.resources.cpu.shares"

// compileWeight is cpu.weight and cpu.idle. An idle cgroup refuses a weight, so
// idle is switched off before a weight is set, and on after it.
func compileWeight(c *specs.LinuxCPU, d *defect.List) []Write {
	const at = "linux.resources.cpu."
	var weight, idle []Write
	if s := value(c.Shares); s != 0 {
		weight = []Write{{Controller: "cpu", File: "cpu.weight", Value: strconv.FormatUint(sharesToWeight(s), 10), From: sharesFrom}}
	}
	if c.Idle == nil {
		return weight
	}
	switch *c.Idle {
	case 0:
		idle = []Write{{Controller: "cpu", File: "cpu.idle", Value: "0", From: at + "idle", Optional: true}}
		return append(idle, weight...)
	case 1:
		idle = []Write{{Controller: "cpu", File: "cpu.idle", Value: "1", From: at + "idle"}}
		return append(weight, idle...)
	}
	d.Add(at+"idle", "%d is neither 0 nor 1", *c.Idle)
	return weight
}

// compileQuota is cpu.max and cpu.max.burst. A file keeps the part that is not
// written: "50000" leaves the period as it is.
func compileQuota(c *specs.LinuxCPU, d *defect.List) []Write {
	const at = "linux.resources.cpu."
	quota, period := value(c.Quota), value(c.Period)
	if quota < -1 {
		d.Add(at+"quota", "%d is neither a number of microseconds nor -1 for no limit", quota)
		return nil
	}
	if c.Burst != nil && quota > 0 && *c.Burst > uint64(quota) {
		d.Add(at+"burst", "%d microseconds are more than the quota of %d", *c.Burst, quota)
		return nil
	}
	var ws []Write
	if quota != 0 || period != 0 {
		w := Write{Controller: "cpu", File: "cpu.max", Value: "max", From: at + "quota"}
		if quota > 0 {
			w.Value = strconv.FormatInt(quota, 10)
		} else {
			w.Optional = true // a period alone limits nothing
		}
		if quota == 0 {
			w.From = at + "period"
		}
		if period != 0 {
			w.Value += " " + strconv.FormatUint(period, 10)
		}
		ws = append(ws, w)
	}
	if c.Burst == nil {
		return ws
	}
	burst := Write{Controller: "cpu", File: "cpu.max.burst", Value: strconv.FormatUint(*c.Burst, 10), From: at + "burst", Optional: *c.Burst == 0}
	if len(ws) > 0 && *c.Burst > 0 {
		// At no moment may the burst be larger than the quota, whichever of
		// the two an update lowers.
		reset := burst
		reset.Value = "0"
		return append([]Write{reset}, append(ws, burst)...)
	}
	if *c.Burst == 0 {
		return append([]Write{burst}, ws...)
	}
	return append(ws, burst)
}

// sharesToWeight maps v1's cpu.shares (2 to 262144, default 1024) to cpu.weight
// (1 to 10000, default 100). Minimum, default and maximum meet; between them it
// is the quadratic in log2(shares) that runc, crun and Kubernetes use, so that a
// container has the same weight whatever runs it. Out of range is clamped.
func sharesToWeight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 1<<18:
		return 10000
	}
	l := math.Log2(float64(shares))
	// The conversion keeps the product from being fused with the sum, which
	// would round differently on some architectures.
	return uint64(math.Ceil(math.Pow(10, (float64(l*l)+125*l)/612.0-7.0/34.0)))
}

// CPUStats is CPU time in nanoseconds.
type CPUStats struct {
	Usage      CPUUsage   `json:"usage,omitzero"`
	Throttling Throttling `json:"throttling,omitzero"`
	PSI        *PSI       `json:"psi,omitempty"`
}

// CPUUsage is the time used, in nanoseconds.
type CPUUsage struct {
	Total  uint64 `json:"total,omitempty"`
	Kernel uint64 `json:"kernel"`
	User   uint64 `json:"user"`
}

// Throttling tells how often, and for how many nanoseconds, cpu.max held the
// container back.
type Throttling struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

func statCPU(dir int, s *Stats) (err error) {
	if s.CPU.PSI, err = readPSI(dir, "cpu.pressure"); err != nil {
		return err
	}
	const usec = 1000
	u, t := &s.CPU.Usage, &s.CPU.Throttling
	return eachKey(dir, "cpu.stat", func(key string, n uint64) {
		switch key {
		case "usage_usec":
			u.Total = n * usec
		case "user_usec":
			u.User = n * usec
		case "system_usec":
			u.Kernel = n * usec
		case "nr_periods":
			t.Periods = n
		case "nr_throttled":
			t.ThrottledPeriods = n
		case "throttled_usec":
			t.ThrottledTime = n * usec
		}
	})
}
