package cgroups

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
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
		bad    string
	}{
		{"nothing", specs.LinuxResources{}, nil, ""},
		{"unset", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(0), Swap: i(0)}, CPU: &specs.LinuxCPU{Shares: u(0), Quota: i(0)}, Pids: &specs.LinuxPids{}}, nil, ""},
		{"the limit moves the swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(1200)}},
			[]string{"memory.swap.max 300", "memory.max 1200"}, ""},
		{"the swap alone", specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: i(2000)}}, []string{"memory.swap.max 1000"}, ""},
		{"less swap than memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(1600)}}, nil, "linux.resources.memory.swap: 1500"},
		{"the same again is written again", specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: i(100)}}, []string{"memory.low 100"}, ""},
		{"limit taken away", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: i(-1), Swap: i(-1)}},
			[]string{"memory.swap.max max", "memory.max max"}, ""},
		{"the period alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: u(200000)}}, []string{"cpu.max 50000 200000"}, ""},
		{"the quota alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: i(2000)}}, []string{"cpu.max 2000 100000"}, ""},
		{"a quota below the burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: i(999)}}, nil, "linux.resources.cpu.burst: 1000"},
		{"quota and burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: i(999), Burst: u(999)}},
			[]string{"cpu.max.burst 0", "cpu.max 999 100000", "cpu.max.burst 999"}, ""},
		{"mems", specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "0"}}, []string{"cpuset.mems 0"}, ""},
		{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: i(0)}}, []string{"pids.max 1"}, ""},
		{"one page size", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "1GB", Limit: 9}}},
			[]string{"hugetlb.1GB.max 9", "hugetlb.1GB.rsvd.max 9"}, ""},
		{"one device's throttle", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 9}}}}},
			[]string{"io.max 9:0 rbps=max"}, ""},
		{"a weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10))}}, []string{"io.bfq.weight 10"}, ""},
		{"rdma", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"b": {HcaObjects: ptr(uint32(1))}}},
			[]string{"rdma.max b hca_object=1"}, ""},
		{"unified", specs.LinuxResources{Unified: map[string]string{"memory.high": "9"}}, []string{"memory.high 9"}, ""},
		{"v1 only", specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: u(1)}, Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1))}}, nil,
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

// TestUpdatePaths shows that what is wrong is told by its place in the change,
// whatever place the limit has among all of them.
func TestUpdatePaths(t *testing.T) {
	old := &specs.LinuxResources{
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}},
		Devices:        devs("- a *:* rwm", "+ b 8:0 r"),
	}
	var d defect.List
	Update(old, &specs.LinuxResources{
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "two", Limit: 1}},
		Devices:        devs("+ b 8:0 x"),
	}, Env{}, &d)
	want := []string{
		`linux.resources.hugepageLimits[0].pageSize: "two" is not a page size such as 64KB, 2MB or 1GB`,
		`linux.resources.devices[0].access: "x" has something else than r, w and m in it`,
	}
	if got := strings.Split(fmt.Sprint(d.Err()), "; "); len(got) != 2 || !strings.HasSuffix(got[0], want[0]) || got[1] != want[1] {
		t.Errorf("%q, want %q", got, want)
	}

	d = nil
	_, ch := Update(old, &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "1GB", Limit: 1}}}, Env{}, &d)
	if w := ch.Plan.Writes; len(d) > 0 || len(w) != 2 || w[0].From != "linux.resources.hugepageLimits[0].limit" {
		t.Errorf("%v, %v", w, d)
	}
	ch.Rename(func(from string) string { return "update: " + from })
	if w := ch.Plan.Writes; w[0].From != "update: linux.resources.hugepageLimits[0].limit" {
		t.Errorf("renamed: %v", w)
	}
}

// TestUpdateAgain shows what a second update finds of the first.
func TestUpdateAgain(t *testing.T) {
	one := func(v uint64) *uint64 { return &v }
	cpu := func(c specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &c} }
	disk := func(major int64, rate uint64) specs.LinuxThrottleDevice {
		return specs.LinuxThrottleDevice{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: major}, Rate: rate}
	}
	reads := func(list ...specs.LinuxThrottleDevice) *specs.LinuxResources {
		return &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: list}}
	}
	for _, tt := range []struct {
		name    string
		old     *specs.LinuxResources
		changes []*specs.LinuxResources
		want    []string // for each change: "FILE VALUE, …"
	}{
		{"memory without a limit is swap without one", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(10)), Swap: ptr(int64(30))}},
			[]*specs.LinuxResources{{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}}, {Memory: &specs.LinuxMemory{Limit: ptr(int64(40))}}},
			[]string{"memory.swap.max max, memory.max max", "memory.max 40"}},
		{"a disk that the config names twice", reads(disk(8, 1), disk(8, 1)), []*specs.LinuxResources{reads(disk(8, 2)), reads(disk(9, 3))},
			[]string{"io.max 8:0 rbps=2", "io.max 9:0 rbps=3"}},
		{"idle, with the weight that it had before", cpu(specs.LinuxCPU{Shares: one(512)}),
			[]*specs.LinuxResources{cpu(specs.LinuxCPU{Idle: ptr(int64(1))}), cpu(specs.LinuxCPU{Shares: one(2)}), cpu(specs.LinuxCPU{Period: one(9)}), cpu(specs.LinuxCPU{Idle: ptr(int64(0))}), cpu(specs.LinuxCPU{Shares: one(1024)})},
			[]string{"cpu.idle 1", "", "cpu.max max 9", "cpu.idle 0, cpu.weight 1", "cpu.weight 100"}},
		{"what was said last counts, whatever its name", &specs.LinuxResources{Unified: map[string]string{"pids.max": "5", "io.max": "8:0 rbps=1\n9:0 rbps=1\n", "io.weight": "77"}},
			[]*specs.LinuxResources{
				{Pids: &specs.LinuxPids{Limit: ptr(int64(6))}}, reads(disk(9, 2)), {BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10))}},
				{Unified: map[string]string{"pids.max": "7"}}, {Pids: &specs.LinuxPids{Limit: ptr(int64(8))}}},
			[]string{"pids.max 6", "io.max 9:0 rbps=2", "io.bfq.weight 10", "pids.max 6, pids.max 7", "pids.max 8"}},
		{"one limit of an RDMA device", &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"a": {HcaHandles: ptr(uint32(1))}}},
			[]*specs.LinuxResources{{Rdma: map[string]specs.LinuxRdma{"a": {HcaObjects: ptr(uint32(2))}}}, {Rdma: map[string]specs.LinuxRdma{"a": {HcaHandles: ptr(uint32(3))}}}},
			[]string{"rdma.max a hca_handle=1 hca_object=2", "rdma.max a hca_handle=3 hca_object=2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := tt.old
			for i, change := range tt.changes {
				var d defect.List
				merged, ch := Update(now, change, Env{}, &d)
				if len(d) > 0 {
					t.Fatal(d)
				}
				var got []string
				for _, w := range slices.Concat(ch.Plan.Writes, ch.Plan.Late) {
					got = append(got, w.File+" "+w.Value)
				}
				if s := strings.Join(got, ", "); s != tt.want[i] {
					t.Errorf("change %d: %q, want %q", i, s, tt.want[i])
				}
				now = merged
			}
		})
	}
}

// TestUpdateWritesAgain shows what is written once more behind systemd, which writes
// all that it knows of a controller when it is told of one limit.
func TestUpdateWritesAgain(t *testing.T) {
	old := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(1000))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(33333)), Period: ptr(uint64(50000))},
		BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{
			{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8}, Rate: 1}}},
		Unified: map[string]string{"memory.zswap.max": "0"},
	}
	for _, tt := range []struct {
		name   string
		change specs.LinuxResources
		want   string
	}{
		{"nothing", specs.LinuxResources{}, ""},
		{"a weight", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2))}}, "cpu.weight 1, cpu.max 33333 50000"},
		{"idle has no weight", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1))}}, "cpu.idle 1, cpu.max 33333 50000"},
		{"memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr(int64(5))}}, "memory.max 1000, memory.low 5, memory.zswap.max 0"},
		{"what systemd is not told", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10))}}, ""},
	} {
		var d defect.List
		_, ch := Update(old, &tt.change, Env{Systemd: true}, &d)
		var got []string
		for _, w := range ch.Again {
			got = append(got, w.File+" "+w.Value)
		}
		if s := strings.Join(got, ", "); s != tt.want || len(d) > 0 {
			t.Errorf("%s: %q %v, want %q", tt.name, s, d, tt.want)
		}
		if _, ch := Update(old, &tt.change, Env{}, &d); ch.Again != nil {
			t.Errorf("%s: without systemd: %v", tt.name, ch.Again)
		}
	}
}

// TestWas shows how a write is undone.
func TestWas(t *testing.T) {
	for _, tt := range []struct{ file, value, content, want string }{
		{"memory.max", "5", "max\n", "max"},
		{"cpu.max", "max 100000", "1000 50000\n", "1000 50000"},
		{"cpuset.cpus", "0", "\n", "\n"},
		{"cpuset.cpus", "0", "", "\n"},
		{"io.max", "8:0 rbps=5", "8:0 rbps=9 wbps=max riops=max wiops=max\n8:16 rbps=1 wbps=max riops=max wiops=max\n", "8:0 rbps=9 wbps=max riops=max wiops=max"},
		{"io.max", "8:1 rbps=5", "8:16 rbps=1 wbps=max riops=max wiops=max\n", "8:1 rbps=max wbps=max riops=max wiops=max"},
		{"io.weight", "50", "default 100\n8:0 7\n", "100"},
		{"io.weight", "8:0 50", "default 100\n8:0 7\n", "8:0 7"},
		{"io.bfq.weight", "8:16 50", "100\n", "8:16 default"},
		{"rdma.max", "b hca_object=1", "a hca_handle=max hca_object=max\nb hca_handle=2 hca_object=max\n", "b hca_handle=2 hca_object=max"},
		{"misc.max", "sev 1", "sev 5\n", "sev 5"},
		{"misc.max", "tdx 1", "sev 5\n", ""},
		{"new.file", "tdx", "a 1\nb 2\n", ""},
	} {
		w := Write{File: tt.file, Value: tt.value}
		if got, ok := w.was(tt.content); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s %q over %q: %q, %v", tt.file, tt.value, tt.content, got, ok)
		}
	}
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

// TestUpdateOfTheSameDevices shows that a list which says nothing new changes
// nothing, for the program may have been given more by others.
func TestUpdateOfTheSameDevices(t *testing.T) {
	old := &specs.LinuxResources{Devices: devs("- a *:* rwm", "+ b 8:0 r")}
	var d defect.List
	for _, same := range [][]specs.LinuxDeviceCgroup{devs("- a *:* rwm", "+ b 8:0 r"), devs("+ b 8:0 r"), devs("- a *:* rwm", "+ c 1:3 rwm", "+ b 8:0 r")} {
		if _, ch := Update(old, &specs.LinuxResources{Devices: same}, Env{}, &d); ch.Devices || !ch.Empty() {
			t.Errorf("%v changes %v", same, ch.Plan.Devices)
		}
	}
}

// TestMergedDevices holds the merged list, which is shortened, against both
// lists together.
func TestMergedDevices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (list []specs.LinuxDeviceCgroup) {
			for range rapid.IntRange(0, 5).Draw(t, name) {
				list = append(list, dev(fmt.Sprintf("%s %s %s:%s %s", rapid.SampledFrom([]string{"+", "-"}).Draw(t, "allow"),
					rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "type"), rapid.SampledFrom([]string{"*", "1", "8"}).Draw(t, "major"),
					rapid.SampledFrom([]string{"*", "3"}).Draw(t, "minor"), rapid.SampledFrom([]string{"r", "rw", "m", "rwm"}).Draw(t, "access"))))
			}
			return list
		}
		old, change := draw("old"), draw("change")
		merged := mergeDevices(old, change)
		var d defect.List
		want, got := compileDevices(slices.Concat(old, change), &d), compileDevices(merged, &d)
		for _, kind := range []byte("bc") {
			for _, major := range []int64{1, 8, 9} {
				for _, minor := range []int64{0, 3} {
					for access := mayMknod; access <= all; access++ {
						a, _, errA := interpret(assemble(&want), kind, major, minor, access)
						b, _, errB := interpret(assemble(&got), kind, major, minor, access)
						if a != b || errA != nil || errB != nil {
							t.Fatalf("%c %d:%d %v: %v, want %v\nold %+v\nchange %+v", kind, major, minor, access, b, a, old, change)
						}
					}
				}
			}
		}
		if again := mergeDevices(merged, change); len(again) > len(merged) {
			t.Fatalf("the same change makes %d rules of %d", len(again), len(merged))
		}
	})
}

func TestUpdateSetsBack(t *testing.T) {
	c := fake(t, map[string]string{
		"/cgroup.controllers": "memory pids cpu", "/cgroup.subtree_control": "cpu io memory pids", "/a/cgroup.subtree_control": "cpu io memory pids",
		"cgroup.controllers": "cpu io memory pids", "memory.max": "1111\n", "memory.low": "0",
	})
	var d defect.List
	limit := func(limit, reservation int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Reservation: &reservation}}
	}
	change := limit(2222, 5) // of a container that had asked for neither
	change.Pids = &specs.LinuxPids{Limit: ptr(int64(3))}
	_, ch := Update(nil, change, Env{}, &d)
	err := c.Update(&ch, nil)
	var w *WriteError
	if !errors.As(err, &w) || w.Write.From != "linux.resources.pids.limit" || !errors.Is(err, unix.ENOENT) { // the file is missing
		t.Fatalf("%v", err)
	}
	is := func(what, limit, low string) {
		t.Helper()
		if got, gotLow := content(t, c, "memory.max"), content(t, c, "memory.low"); got != limit || gotLow != low {
			t.Errorf("%s: memory.max has %q, memory.low %q", what, got, gotLow)
		}
	}
	is("refused", "1111\n", "0")

	// So it is when somebody else will not have it.
	_, ch = Update(nil, limit(3333, 0), Env{}, &d)
	refusal := errors.New("no")
	if err := c.Update(&ch, func() error { is("being told", "3333\n", "0"); return refusal }); !errors.Is(err, refusal) {
		t.Fatal(err)
	}
	is("refused by another", "1111\n", "0")

	// What he writes is overwritten, if he takes it; also what was not to change.
	ch.Again = []Write{must("memory", "memory.low", "0", "memory.reservation")}
	err = c.Update(&ch, func() error {
		return errors.Join(writeAt(c.fd, "memory.max", "4444"), writeAt(c.fd, "memory.low", "7"))
	})
	if err != nil {
		t.Fatal(err)
	}
	is("done", "3333\n", "0")
	if len(d) > 0 {
		t.Error(d)
	}
}
