//lint:file-ignore SA1019 what is deprecated must still be refused

package cgroups

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// must and may make a Write that is needed and one that is Optional.
func must(controller, file, value, from string) Write {
	return Write{Controller: controller, File: file, Value: value, From: "linux.resources." + from}
}

func may(controller, file, value, from string) Write {
	w := must(controller, file, value, from)
	w.Optional = true
	return w
}

// conversion is one case of a controller's table: what is written, or what is
// wrong.
type conversion struct {
	name string
	in   *specs.LinuxResources
	want []Write
	bad  []string // beginnings of the defects, "JSON path: text"
}

func convert(t *testing.T, cases []conversion) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			var p Plan
			compileResources(tt.in, &p, &d)
			if got := slices.Concat(p.Writes, p.Late); !slices.EqualFunc(got, tt.want, equalWrite) {
				t.Errorf("writes:\n got %+v\nwant %+v", got, tt.want)
			}
			if len(d) != len(tt.bad) {
				t.Fatalf("defects:\n got %v\nwant %v", d, tt.bad)
			}
			for i := range d {
				if got, want := d[i].String(), "linux.resources."+tt.bad[i]; !strings.HasPrefix(got, want) {
					t.Errorf("defect:\n got %s\nwant %s…", got, want)
				}
			}
		})
	}
}

func equalWrite(a, b Write) bool { return reflect.DeepEqual(a, b) }

func memory(m specs.LinuxMemory) *specs.LinuxResources { return &specs.LinuxResources{Memory: &m} }
func cpu(c specs.LinuxCPU) *specs.LinuxResources       { return &specs.LinuxResources{CPU: &c} }
func blockIO(b specs.LinuxBlockIO) *specs.LinuxResources {
	return &specs.LinuxResources{BlockIO: &b}
}

func TestCompileMemory(t *testing.T) {
	const m = "memory"
	var (
		swapMax  = may(m, "memory.swap.max", "max", "memory.swap")
		limitMax = may(m, "memory.max", "max", "memory.limit")
		limit    = must(m, "memory.max", "1000", "memory.limit")
	)
	i := func(v int64) *int64 { return &v }
	convert(t, []conversion{
		{"unset", &specs.LinuxResources{}, nil, nil},
		{"empty", memory(specs.LinuxMemory{}), nil, nil},
		{"zero is unset", memory(specs.LinuxMemory{Limit: i(0), Reservation: i(0), Swap: i(0), Kernel: i(0), KernelTCP: i(0)}), nil, nil},
		{"limit", memory(specs.LinuxMemory{Limit: i(1000)}), []Write{limit}, nil},
		{"no limit lifts swap's as well", memory(specs.LinuxMemory{Limit: i(-1)}),
			[]Write{may(m, "memory.swap.max", "max", "memory.limit"), limitMax}, nil},
		{"swap is without memory", memory(specs.LinuxMemory{Limit: i(1000), Swap: i(1500)}),
			[]Write{must(m, "memory.swap.max", "500", "memory.swap"), limit}, nil},
		{"as much as memory is no swap", memory(specs.LinuxMemory{Limit: i(1000), Swap: i(1000)}),
			[]Write{may(m, "memory.swap.max", "0", "memory.swap"), limit}, nil},
		{"all the swap", memory(specs.LinuxMemory{Limit: i(1000), Swap: i(-1)}), []Write{swapMax, limit}, nil},
		{"all there is", memory(specs.LinuxMemory{Limit: i(-1), Swap: i(-1)}), []Write{swapMax, limitMax}, nil},
		{"swap without a limit of memory", memory(specs.LinuxMemory{Limit: i(-1), Swap: i(700)}),
			[]Write{must(m, "memory.swap.max", "700", "memory.swap"), limitMax}, nil},
		{"swap alone", memory(specs.LinuxMemory{Swap: i(1500)}), nil,
			[]string{"memory.swap: 1500 is the limit of memory and swap together, so it needs a memory.limit"}},
		{"less swap than memory", memory(specs.LinuxMemory{Limit: i(1000), Swap: i(999)}), []Write{limit},
			[]string{"memory.swap: 999 is the limit of memory and swap together, and less than memory.limit, 1000"}},
		{"reservation", memory(specs.LinuxMemory{Reservation: i(5)}), []Write{must(m, "memory.low", "5", "memory.reservation")}, nil},
		{"no reservation protects nothing", memory(specs.LinuxMemory{Reservation: i(-1)}), []Write{may(m, "memory.low", "0", "memory.reservation")}, nil},
		{"negative", memory(specs.LinuxMemory{Limit: i(-2)}), nil, []string{"memory.limit: -2 is neither"}},
		{"negative reservation", memory(specs.LinuxMemory{Reservation: i(-2)}), nil, []string{"memory.reservation: -2 is neither"}},
		{"negative swap", memory(specs.LinuxMemory{Swap: i(-2)}), nil, []string{"memory.swap: -2 is neither"}},
		{"v1 only", memory(specs.LinuxMemory{Kernel: i(1), KernelTCP: i(1), Swappiness: ptr(uint64(60)), DisableOOMKiller: ptr(true)}), nil,
			[]string{"memory.kernel: ", "memory.kernelTCP: ", "memory.swappiness: ", "memory.disableOOMKiller: "}},
		{"v1 only, unset", memory(specs.LinuxMemory{Kernel: i(-1), KernelTCP: i(-1), Swappiness: ptr(^uint64(0)), DisableOOMKiller: ptr(false), UseHierarchy: ptr(false)}), nil, nil},
		{"hierarchy is always on", memory(specs.LinuxMemory{UseHierarchy: ptr(true), Swappiness: ptr(uint64(0))}), nil, nil},
	})
}

func TestMemoryCheckBeforeUpdate(t *testing.T) {
	i := func(v int64) *int64 { return &v }
	for _, tt := range []struct {
		name        string
		m           specs.LinuxMemory
		check       bool
		limit, swap int64
	}{
		{"off", specs.LinuxMemory{Limit: i(10), CheckBeforeUpdate: ptr(false)}, false, 0, 0},
		{"limit", specs.LinuxMemory{Limit: i(10), CheckBeforeUpdate: ptr(true)}, true, 10, 0},
		{"with swap", specs.LinuxMemory{Limit: i(10), Swap: i(15), CheckBeforeUpdate: ptr(true)}, true, 10, 15},
		{"all the swap", specs.LinuxMemory{Limit: i(10), Swap: i(-1), CheckBeforeUpdate: ptr(true)}, true, 10, -1},
		{"no limit", specs.LinuxMemory{Limit: i(-1), CheckBeforeUpdate: ptr(true)}, true, -1, 0},
	} {
		var p Plan
		var d defect.List
		compileResources(memory(tt.m), &p, &d)
		if p.CheckMemory != tt.check || p.MemoryLimit != tt.limit || p.MemorySwapLimit != tt.swap {
			t.Errorf("%s: %v %d %d, want %v %d %d", tt.name, p.CheckMemory, p.MemoryLimit, p.MemorySwapLimit, tt.check, tt.limit, tt.swap)
		}
	}
}

func TestCompileCPU(t *testing.T) {
	const c = "cpu"
	u := func(v uint64) *uint64 { return &v }
	i := func(v int64) *int64 { return &v }
	convert(t, []conversion{
		{"empty", cpu(specs.LinuxCPU{}), nil, nil},
		{"zero is unset", cpu(specs.LinuxCPU{Shares: u(0), Quota: i(0), Period: u(0), RealtimePeriod: u(0), RealtimeRuntime: i(0)}), nil, nil},
		{"shares", cpu(specs.LinuxCPU{Shares: u(1024)}), []Write{must(c, "cpu.weight", "100", "cpu.shares")}, nil},
		{"quota and period", cpu(specs.LinuxCPU{Quota: i(50000), Period: u(200000)}), []Write{must(c, "cpu.max", "50000 200000", "cpu.quota")}, nil},
		{"quota keeps the period", cpu(specs.LinuxCPU{Quota: i(50000)}), []Write{must(c, "cpu.max", "50000", "cpu.quota")}, nil},
		{"no quota", cpu(specs.LinuxCPU{Quota: i(-1), Period: u(200000)}), []Write{may(c, "cpu.max", "max 200000", "cpu.quota")}, nil},
		{"a period alone", cpu(specs.LinuxCPU{Period: u(200000)}), []Write{may(c, "cpu.max", "max 200000", "cpu.period")}, nil},
		{"negative quota", cpu(specs.LinuxCPU{Quota: i(-5)}), nil, []string{"cpu.quota: -5 is neither"}},
		{"burst", cpu(specs.LinuxCPU{Burst: u(10)}), []Write{must(c, "cpu.max.burst", "10", "cpu.burst")}, nil},
		{"no burst", cpu(specs.LinuxCPU{Burst: u(0)}), []Write{may(c, "cpu.max.burst", "0", "cpu.burst")}, nil},
		{"the burst is never above the quota", cpu(specs.LinuxCPU{Quota: i(50), Burst: u(50)}), []Write{
			must(c, "cpu.max.burst", "0", "cpu.burst"), must(c, "cpu.max", "50", "cpu.quota"), must(c, "cpu.max.burst", "50", "cpu.burst")}, nil},
		{"the burst goes before a lower quota", cpu(specs.LinuxCPU{Quota: i(50), Burst: u(0)}), []Write{
			may(c, "cpu.max.burst", "0", "cpu.burst"), must(c, "cpu.max", "50", "cpu.quota")}, nil},
		{"more burst than quota", cpu(specs.LinuxCPU{Quota: i(50), Burst: u(51)}), nil, []string{"cpu.burst: 51 microseconds are more than the quota of 50"}},
		{"idle after the weight", cpu(specs.LinuxCPU{Idle: i(1), Shares: u(2)}), []Write{
			must(c, "cpu.weight", "1", "cpu.shares"), must(c, "cpu.idle", "1", "cpu.idle")}, nil},
		{"not idle before the weight", cpu(specs.LinuxCPU{Idle: i(0), Shares: u(2)}), []Write{
			may(c, "cpu.idle", "0", "cpu.idle"), must(c, "cpu.weight", "1", "cpu.shares")}, nil},
		{"idle is 0 or 1", cpu(specs.LinuxCPU{Idle: i(2)}), nil, []string{"cpu.idle: 2 is neither 0 nor 1"}},
		{"v1 only", cpu(specs.LinuxCPU{RealtimePeriod: u(1), RealtimeRuntime: i(1)}), nil, []string{"cpu.realtimeRuntime: ", "cpu.realtimePeriod: "}},
		{"v1 only, unset", cpu(specs.LinuxCPU{RealtimeRuntime: i(-1)}), nil, nil},
	})
}

func TestSharesToWeight(t *testing.T) {
	for _, tt := range [][2]uint64{
		{1, 1}, {2, 1}, {3, 2}, {10, 4}, {100, 17}, {256, 35}, {512, 59}, {1023, 100}, {1024, 100}, {1025, 101},
		{2048, 174}, {10000, 627}, {100000, 4340}, {262143, 10000}, {262144, 10000}, {1 << 40, 10000},
	} {
		if got := sharesToWeight(tt[0]); got != tt[1] {
			t.Errorf("sharesToWeight(%d) = %d, want %d", tt[0], got, tt[1])
		}
	}
	last := uint64(0)
	for s := uint64(1); s < 1<<18; s += 7 {
		w := sharesToWeight(s)
		if w < last {
			t.Fatalf("%d shares weigh %d, less than fewer shares", s, w)
		}
		last = w
	}
}

func TestCompileCpuset(t *testing.T) {
	convert(t, []conversion{
		{"both", cpu(specs.LinuxCPU{Cpus: "0-3,7", Mems: "0"}), []Write{
			must("cpuset", "cpuset.cpus", "0-3,7", "cpu.cpus"), must("cpuset", "cpuset.mems", "0", "cpu.mems")}, nil},
		{"one", cpu(specs.LinuxCPU{Mems: " 1 "}), []Write{must("cpuset", "cpuset.mems", "1", "cpu.mems")}, nil},
		{"blank", cpu(specs.LinuxCPU{Cpus: " \n"}), nil, nil},
		{"no list", cpu(specs.LinuxCPU{Cpus: "0\n1", Mems: "all"}), nil, []string{`cpu.cpus: "0\n1" is not a list`, `cpu.mems: "all" is not a list`}},
	})
}

func TestCompilePids(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit *int64
		want  []Write
	}{
		{"unset", nil, nil},
		{"zero is the least limit", ptr(int64(0)), []Write{may("pids", "pids.max", "1", "pids.limit")}},
		{"one", ptr(int64(1)), []Write{must("pids", "pids.max", "1", "pids.limit")}},
		{"some", ptr(int64(32771)), []Write{must("pids", "pids.max", "32771", "pids.limit")}},
		{"negative is max", ptr(int64(-1)), []Write{may("pids", "pids.max", "max", "pids.limit")}},
		{"more negative is max", ptr(int64(-7)), []Write{may("pids", "pids.max", "max", "pids.limit")}},
	} {
		convert(t, []conversion{{tt.name, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: tt.limit}}, tt.want, nil}})
	}
}

func TestCompileIO(t *testing.T) {
	bfq := func(v, fallback, from string) Write {
		w, e := must("io", "io.bfq.weight", v, "blockIO."+from), must("io", "io.weight", fallback, "blockIO."+from)
		w.Else = &e
		return w
	}
	at := func(major, minor int64) specs.LinuxBlockIODevice {
		return specs.LinuxBlockIODevice{Major: major, Minor: minor}
	}
	weight := func(major, minor int64, w, leaf *uint16) specs.LinuxWeightDevice {
		return specs.LinuxWeightDevice{LinuxBlockIODevice: at(major, minor), Weight: w, LeafWeight: leaf}
	}
	throttle := func(major, minor int64, rate uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at(major, minor), Rate: rate}}
	}
	n := func(v uint16) *uint16 { return &v }
	convert(t, []conversion{
		{"empty", blockIO(specs.LinuxBlockIO{}), nil, nil},
		{"zero is unset", blockIO(specs.LinuxBlockIO{Weight: n(0), LeafWeight: n(0)}), nil, nil},
		{"least weight", blockIO(specs.LinuxBlockIO{Weight: n(10)}), []Write{bfq("10", "1", "weight")}, nil},
		{"weight", blockIO(specs.LinuxBlockIO{Weight: n(500)}), []Write{bfq("500", "4950", "weight")}, nil},
		{"most weight", blockIO(specs.LinuxBlockIO{Weight: n(1000)}), []Write{bfq("1000", "10000", "weight")}, nil},
		{"out of range", blockIO(specs.LinuxBlockIO{Weight: n(9), WeightDevice: []specs.LinuxWeightDevice{weight(8, 0, n(1001), nil)}}), nil,
			[]string{"blockIO.weight: 9 is not between 10 and 1000", "blockIO.weightDevice[0].weight: 1001 is not"}},
		{"of devices", blockIO(specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{weight(8, 0, n(0), n(0)), weight(8, 16, n(10), nil)}}),
			[]Write{bfq("8:16 10", "8:16 1", "weightDevice[1].weight")}, nil},
		{"v1 only", blockIO(specs.LinuxBlockIO{LeafWeight: n(10), WeightDevice: []specs.LinuxWeightDevice{weight(8, 0, nil, n(300))}}), nil,
			[]string{"blockIO.leafWeight: ", "blockIO.weightDevice[0].leafWeight: "}},
		{"neither weight", blockIO(specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{weight(8, 0, nil, nil)}}), nil,
			[]string{"blockIO.weightDevice[0]: neither weight nor leafWeight is set"}},
		{"throttles", blockIO(specs.LinuxBlockIO{
			ThrottleReadBpsDevice: throttle(8, 0, 1), ThrottleWriteBpsDevice: throttle(8, 0, 2),
			ThrottleReadIOPSDevice: throttle(8, 0, 3), ThrottleWriteIOPSDevice: throttle(259, 3, 4),
		}), []Write{
			must("io", "io.max", "8:0 rbps=1", "blockIO.throttleReadBpsDevice[0].rate"),
			must("io", "io.max", "8:0 wbps=2", "blockIO.throttleWriteBpsDevice[0].rate"),
			must("io", "io.max", "8:0 riops=3", "blockIO.throttleReadIOPSDevice[0].rate"),
			must("io", "io.max", "259:3 wiops=4", "blockIO.throttleWriteIOPSDevice[0].rate"),
		}, nil},
		{"no throttle", blockIO(specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(8, 0, 0)}),
			[]Write{may("io", "io.max", "8:0 rbps=max", "blockIO.throttleReadBpsDevice[0].rate")}, nil},
		{"no device", blockIO(specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(-1, 0, 5)}), nil,
			[]string{"blockIO.throttleReadBpsDevice[0]: -1:0 is not a device number"}},
	})
}

func TestCompileHugetlb(t *testing.T) {
	limits := func(l ...specs.LinuxHugepageLimit) *specs.LinuxResources {
		return &specs.LinuxResources{HugepageLimits: l}
	}
	convert(t, []conversion{
		{"use and reservations", limits(specs.LinuxHugepageLimit{Pagesize: "2MB", Limit: 4 << 20}), []Write{
			must("hugetlb", "hugetlb.2MB.max", "4194304", "hugepageLimits[0].limit"),
			may("hugetlb", "hugetlb.2MB.rsvd.max", "4194304", "hugepageLimits[0].limit")}, nil},
		{"zero is a limit", limits(specs.LinuxHugepageLimit{Pagesize: "1GB"}), []Write{
			must("hugetlb", "hugetlb.1GB.max", "0", "hugepageLimits[0].limit"),
			may("hugetlb", "hugetlb.1GB.rsvd.max", "0", "hugepageLimits[0].limit")}, nil},
		{"no size", limits(specs.LinuxHugepageLimit{Pagesize: "2M"}, specs.LinuxHugepageLimit{Pagesize: "../2MB"}, specs.LinuxHugepageLimit{Pagesize: "MB"}, specs.LinuxHugepageLimit{}), nil,
			[]string{`hugepageLimits[0].pageSize: "2M" is not`, `hugepageLimits[1].pageSize: "../2MB" is not`, `hugepageLimits[2].pageSize: "MB" is not`, `hugepageLimits[3].pageSize: "" is not`}},
	})
}

func TestCompileRDMA(t *testing.T) {
	n := func(v uint32) *uint32 { return &v }
	convert(t, []conversion{
		{"in order", &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{
			"mlx5_1": {HcaHandles: n(3), HcaObjects: n(10000)}, "mlx4_0": {HcaObjects: n(1000)}, "rxe3": {HcaHandles: n(0)}}}, []Write{
			must("rdma", "rdma.max", "mlx4_0 hca_object=1000", "rdma.mlx4_0"),
			must("rdma", "rdma.max", "mlx5_1 hca_handle=3 hca_object=10000", "rdma.mlx5_1"),
			must("rdma", "rdma.max", "rxe3 hca_handle=0", "rdma.rxe3")}, nil},
		{"nothing", &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"a": {}, "b c": {HcaHandles: n(1)}}}, nil,
			[]string{"rdma.a: neither", `rdma.b c: "b c" is not the name`}},
	})
}

func TestCompileNetwork(t *testing.T) {
	convert(t, []conversion{
		{"v1 only", &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(5)), Priorities: []specs.LinuxInterfacePriority{{}}}}, nil,
			[]string{"network.classID: ", "network.priorities: "}},
		{"unset", &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0))}}, nil, nil},
	})
}

func TestCompileUnified(t *testing.T) {
	convert(t, []conversion{
		{"early, late and core", &specs.LinuxResources{Unified: map[string]string{
			"pids.max": "5", "memory.high": "1000", "cpu.pressure": "some 1 2", "cgroup.max.depth": "3", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "memory.low": ""}}, []Write{
			must("", "cgroup.max.depth", "3", "unified.cgroup.max.depth"),
			must("", "cpu.pressure", "some 1 2", "unified.cpu.pressure"),
			must("io", "io.max", "8:0 rbps=1", "unified.io.max"),
			must("io", "io.max", "8:16 rbps=2", "unified.io.max"),
			must("memory", "memory.high", "1000", "unified.memory.high"),
			must("pids", "pids.max", "5", "unified.pids.max"),
		}, nil},
		{"after the rest", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(7))}, Unified: map[string]string{"pids.max": "9"}}, []Write{
			must("pids", "pids.max", "7", "pids.limit"), must("pids", "pids.max", "9", "unified.pids.max")}, nil},
		{"refused", &specs.LinuxResources{Unified: map[string]string{"../pids.max": "1", "a/b.c": "1", "pids": "1", ".max": "1", "": "1", "cgroup.procs": "1", "cgroup.threads": "1", "cgroup.type": "threaded"}}, nil,
			[]string{"unified.: ", `unified.../pids.max: "../pids.max" is a path`, "unified..max: ", `unified.a/b.c: "a/b.c" is a path`, "unified.cgroup.procs: ", "unified.cgroup.threads: ", "unified.cgroup.type: ", `unified.pids: "pids" is not a file of a controller`}},
		{"misc", &specs.LinuxResources{Unified: map[string]string{"misc.max": "sev 1"}}, []Write{must("misc", "misc.max", "sev 1", "unified.misc.max")}, nil},
	})
}

// TestLateIsWhatCouldStopInit shows which limits wait for init's set-up.
func TestLateIsWhatCouldStopInit(t *testing.T) {
	r := &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(1))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(1000)), Cpus: "0"},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(1))},
		Unified: map[string]string{"cpu.max.burst": "1", "cgroup.freeze": "1", "cgroup.kill": "1", "hugetlb.2MB.max": "0"},
	}
	var p Plan
	var d defect.List
	compileResources(r, &p, &d)
	files := func(ws []Write) (out []string) {
		for _, w := range ws {
			out = append(out, w.File)
		}
		return out
	}
	if got, want := files(p.Writes), []string{"memory.max", "hugetlb.2MB.max"}; !slices.Equal(got, want) {
		t.Errorf("early: %v, want %v", got, want)
	}
	if got, want := files(p.Late), []string{"cpu.max", "cpuset.cpus", "pids.max", "cgroup.freeze", "cgroup.kill", "cpu.max.burst"}; !slices.Equal(got, want) {
		t.Errorf("late: %v, want %v", got, want)
	}
}
