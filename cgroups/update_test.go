package cgroups

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestUpdate(t *testing.T) {
	i := func(v int64) *int64 { return &v }
	u := func(v uint64) *uint64 { return &v }
	old := &specs.LinuxResources{
		Memory:         &specs.LinuxMemory{Limit: i(1000), Swap: i(1500), Reservation: i(100)},
		CPU:            &specs.LinuxCPU{Shares: u(1024), Quota: i(50000), Period: u(100000), Burst: u(1000), Cpus: "0"},
		Pids:           &specs.LinuxPids{Limit: i(10)},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}, {Pagesize: "1GB", Limit: 2}},
		BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{
			{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8}, Rate: 1}, {LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 9}, Rate: 2}}},
		Rdma:    map[string]specs.LinuxRdma{"a": {HcaHandles: ptr(uint32(1))}},
		Unified: map[string]string{"memory.high": "7", "memory.min": "8"},
	}
	for _, tt := range []struct {
		name   string
		change specs.LinuxResources
		want   []string // FILE VALUE
		back   []string
		bad    string
	}{
		{"nothing", specs.LinuxResources{}, nil, nil, ""},
		{"unset", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(0), Swap: i(0)}, CPU: &specs.LinuxCPU{Shares: u(0), Quota: i(0)}, Pids: &specs.LinuxPids{}}, nil, nil, ""},
		{"the limit moves the swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(1200)}},
			[]string{"memory.swap.max 300", "memory.max 1200"}, []string{"memory.swap.max 500", "memory.max 1000"}, ""},
		{"the swap alone", specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: i(2000)}}, []string{"memory.swap.max 1000"}, []string{"memory.swap.max 500"}, ""},
		{"less swap than memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(1600)}}, nil, nil, "linux.resources.memory.swap: 1500"},
		{"the same again is written again", specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: i(100)}}, []string{"memory.low 100"}, []string{"memory.low 100"}, ""},
		{"limit taken away", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(-1), Swap: i(-1)}},
			[]string{"memory.swap.max max", "memory.max max"}, []string{"memory.swap.max 500", "memory.max 1000"}, ""},
		{"the period alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: u(200000)}}, []string{"cpu.max 50000 200000"}, []string{"cpu.max 50000 100000"}, ""},
		{"the quota alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: i(2000)}}, []string{"cpu.max 2000 100000"}, []string{"cpu.max 50000 100000"}, ""},
		{"a quota below the burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: i(999)}}, nil, nil, "linux.resources.cpu.burst: 1000"},
		{"quota and burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: i(999), Burst: u(999)}},
			[]string{"cpu.max.burst 0", "cpu.max 999 100000", "cpu.max.burst 999"}, []string{"cpu.max.burst 0", "cpu.max 50000 100000", "cpu.max.burst 1000"}, ""},
		{"mems", specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "0"}}, []string{"cpuset.mems 0"}, nil, ""},
		{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: i(0)}}, []string{"pids.max 1"}, []string{"pids.max 10"}, ""},
		{"one page size", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "1GB", Limit: 9}}},
			[]string{"hugetlb.1GB.max 9", "hugetlb.1GB.rsvd.max 9"}, []string{"hugetlb.1GB.max 2", "hugetlb.1GB.rsvd.max 2"}, ""},
		{"one device's throttle", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 9}}}}},
			[]string{"io.max 9:0 rbps=max"}, []string{"io.max 9:0 rbps=2"}, ""},
		{"a weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10))}}, []string{"io.bfq.weight 10"}, nil, ""},
		{"rdma", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"b": {HcaObjects: ptr(uint32(1))}}},
			[]string{"rdma.max b hca_object=1"}, nil, ""},
		{"unified", specs.LinuxResources{Unified: map[string]string{"memory.high": "9"}}, []string{"memory.high 9"}, []string{"memory.high 7"}, ""},
		{"v1 only", specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: u(1)}, Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1))}}, nil, nil,
			"linux.resources.memory.swappiness: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := clone(t, old)
			var d defect.List
			merged, c := Update(old, &tt.change, Env{}, &d)
			if !reflect.DeepEqual(old, before) {
				t.Error("the old resources were modified")
			}
			if tt.bad != "" {
				if len(d) == 0 || !strings.HasPrefix(d[0].String(), tt.bad) {
					t.Errorf("defects %v, want %q", d, tt.bad)
				}
				return
			}
			if len(d) > 0 {
				t.Fatal(d)
			}
			show := func(ws ...[]Write) (out []string) {
				for _, w := range slices.Concat(ws...) {
					out = append(out, w.File+" "+w.Value)
				}
				return out
			}
			if got := show(c.Plan.Writes, c.Plan.Late); !slices.Equal(got, tt.want) {
				t.Errorf("writes %q, want %q", got, tt.want)
			}
			if back := show(c.Back); !slices.Equal(back, tt.back) {
				t.Errorf("back %q, want %q", back, tt.back)
			}
			if c.Devices {
				t.Error("the devices change too")
			}
			// The record has the outcome: the same again changes nothing.
			if _, again := Update(merged, &specs.LinuxResources{}, Env{}, &d); len(again.Plan.Writes)+len(again.Plan.Late) > 0 {
				t.Errorf("not in the merged resources: %+v", again.Plan)
			}
		})
	}
}

func clone(t *testing.T, r *specs.LinuxResources) *specs.LinuxResources {
	t.Helper()
	c := *r
	m, cpu, b := *r.Memory, *r.CPU, *r.BlockIO
	c.Memory, c.CPU, c.BlockIO = &m, &cpu, &b
	c.HugepageLimits = slices.Clone(r.HugepageLimits)
	c.BlockIO.ThrottleReadBpsDevice = slices.Clone(b.ThrottleReadBpsDevice)
	c.Unified = mergeMap(map[string]string{}, r.Unified)
	c.Rdma = mergeMap(map[string]specs.LinuxRdma{}, r.Rdma)
	return &c
}

func TestUpdateOfDevices(t *testing.T) {
	old := &specs.LinuxResources{Devices: devs("- a *:* rwm", "+ b 8:0 r")}
	var d defect.List
	merged, c := Update(old, &specs.LinuxResources{Devices: devs("+ b 8:16 rw", "- b 8:0 r")}, Env{}, &d)
	if !c.Devices || c.Plan.Devices.Block.String() != "false [+*:* m +8:16 rw]" {
		t.Errorf("%v %v", c.Devices, c.Plan.Devices.Block)
	}
	_, c = Update(merged, &specs.LinuxResources{Devices: devs("- a *:* rwm", "+ b 9:0 r")}, Env{}, &d)
	if c.Plan.Devices.Block.String() != "false [+*:* m +9:0 r]" {
		t.Errorf("a list that begins anew: %v", c.Plan.Devices.Block)
	}
	if len(d) > 0 {
		t.Error(d)
	}
}

func TestUpdateSetsBack(t *testing.T) {
	c := fake(t, map[string]string{
		"/cgroup.controllers": "memory pids cpu", "/cgroup.subtree_control": "cpu io memory pids", "/a/cgroup.subtree_control": "cpu io memory pids",
		"cgroup.controllers": "cpu io memory pids", "memory.max": "", "memory.low": "",
	})
	var d defect.List
	old := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1111))}}
	_, ch := Update(old, &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(2222)), Reservation: ptr(int64(5))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(3))}, // whose file is missing
	}, Env{}, &d)
	err := c.Update(&ch)
	var w *WriteError
	if !errors.As(err, &w) || w.Write.From != "linux.resources.pids.limit" || !errors.Is(err, unix.ENOENT) {
		t.Fatalf("%v", err)
	}
	if got := content(t, c, "memory.max"); got != "1111" {
		t.Errorf("memory.max has %q, want what it had before", got)
	}
	_, ch = Update(old, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(3333))}}, Env{}, &d)
	if err := c.Update(&ch); err != nil {
		t.Fatal(err)
	}
	if got := content(t, c, "memory.max"); got != "3333" {
		t.Errorf("memory.max has %q", got)
	}
	if len(d) > 0 {
		t.Error(d)
	}
}
