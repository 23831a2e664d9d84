package cgroups

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
)

func TestCompileScope(t *testing.T) {
	for _, tt := range []struct {
		name, path  string
		unit, slice string
		bad         string
	}{
		{"unset", "", "gourd-web.scope", "", ""},
		{"docker's", "system.slice:docker:1234", "docker-1234.scope", "system.slice", ""},
		{"kubelet's", "kubepods-besteffort-pod1_2.slice:cri-containerd:ab", "cri-containerd-ab.scope", "kubepods-besteffort-pod1_2.slice", ""},
		{"no slice", ":docker:1", "docker-1.scope", "", ""},
		{"no prefix", "user.slice::1", "1.scope", "user.slice", ""},
		{"the root slice", "-.slice:a:b", "a-b.scope", "-.slice", ""},
		{"a path", "/docker/1234", "", "", "is not of the form slice:prefix:name"},
		{"too many parts", "a.slice:b:c:d", "", "", "is not of the form"},
		{"no name", "a.slice:b:", "", "", "is not of the form"},
		{"a slice as the container", "a.slice:b:c.slice", "", "", "names a slice"},
		{"no slice's name", "docker:a:b", "", "", "is not the name of a slice"},
		{"an empty slice within", "a--b.slice:a:b", "", "", "is not the name of a slice"},
		{"a slash", "a.slice:a:b/c", "", "", "is not a name that systemd takes"},
		{"a long name", "a.slice:a:" + strings.Repeat("b", 255), "", "", "is not a name that systemd takes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			s := compileScope(&Env{ID: "web", CgroupsPath: tt.path}, &d)
			if tt.bad != "" {
				if len(d) == 0 || d[0].Path != "linux.cgroupsPath" || !strings.Contains(d[0].Problem, tt.bad) {
					t.Errorf("defects %v, want %q", d, tt.bad)
				}
				return
			}
			if len(d) > 0 || s.Unit != tt.unit || s.Slice != tt.slice {
				t.Errorf("%+v %v", s, d)
			}
		})
	}
}

func TestAnnotatedProperties(t *testing.T) {
	var d defect.List
	s := compileScope(&Env{ID: "web", Annotations: map[string]string{
		"org.systemd.property.TimeoutStopUSec": "uint64 1", "org.systemd.property.KillSignal": "15", "other": "x",
		"org.systemd.property.a.b": "1", "org.systemd.property.PIDs": "[uint32 1]", "org.systemd.property.Slice": "'x.slice'",
	}}, &d)
	want := []AnnotatedProperty{
		{"KillSignal", "15", "annotations.org.systemd.property.KillSignal"},
		{"TimeoutStopUSec", "uint64 1", "annotations.org.systemd.property.TimeoutStopUSec"},
	}
	if !reflect.DeepEqual(s.Annotated, want) {
		t.Errorf("%+v", s.Annotated)
	}
	if len(d) != 3 {
		t.Errorf("defects %v, want one each for PIDs, Slice and a.b", d)
	}
}

func TestProperties(t *testing.T) {
	for _, tt := range []struct {
		file, value string
		want        []Property
		bad         bool
	}{
		{"memory.max", "1000", []Property{{Name: "MemoryMax", Number: 1000}}, false},
		{"memory.max", "max", []Property{{Name: "MemoryMax", Number: math.MaxUint64}}, false},
		{"memory.low", "5", []Property{{Name: "MemoryLow", Number: 5}}, false},
		{"memory.high", "5", []Property{{Name: "MemoryHigh", Number: 5}}, false},
		{"memory.min", "5", []Property{{Name: "MemoryMin", Number: 5}}, false},
		{"memory.swap.max", "0", []Property{{Name: "MemorySwapMax"}}, false},
		{"memory.oom.group", "1", []Property{{Name: "OOMPolicy", Text: "kill", Since: 253}}, false},
		{"memory.oom.group", "0", []Property{{Name: "OOMPolicy", Text: "continue", Since: 253}}, false},
		{"pids.max", "7", []Property{{Name: "TasksMax", Number: 7}}, false},
		{"pids.max", "0", []Property{{Name: "TasksMax", Number: 1}}, false},
		{"cpu.weight", "39", []Property{{Name: "CPUWeight", Number: 39}}, false},
		{"cpu.idle", "1", []Property{{Name: "CPUWeight", Since: 252}}, false},
		{"cpu.idle", "0", []Property{{Name: "CPUWeight", Number: math.MaxUint64, Since: 252}}, false},
		{"cpu.max", "50000", []Property{{Name: "CPUQuotaPerSecUSec", Number: 500000}}, false},
		{"cpu.max", "max", []Property{{Name: "CPUQuotaPerSecUSec", Number: math.MaxUint64}}, false},
		{"cpu.max", "5555 10000", []Property{{Name: "CPUQuotaPeriodUSec", Number: 10000, Since: 242}, {Name: "CPUQuotaPerSecUSec", Number: 560000}}, false},
		{"cpuset.cpus", "0-2,9", []Property{{Name: "AllowedCPUs", Bytes: []byte{0b111, 0b10}, Since: 244}}, false},
		{"cpuset.mems", "1", []Property{{Name: "AllowedMemoryNodes", Bytes: []byte{0b10}, Since: 244}}, false},
		{"io.max", "8:0 rbps=1", nil, false},
		{"hugetlb.2MB.max", "1", nil, false},
		{"memory.max", "much", nil, true},
		{"cpu.max", "1 2 3", nil, true},
		{"cpu.max", "1 0", nil, true},
		{"cpuset.cpus", "3-1", nil, true},
		{"cpuset.cpus", ",", nil, true},
		{"cpuset.cpus", "0-99999", nil, true},
	} {
		var d defect.List
		got := properties([]Write{{File: tt.file, Value: tt.value, From: "linux.x"}}, &d)
		if tt.bad {
			if len(d) != 1 || d[0].Path != "linux.x" {
				t.Errorf("%s %s: defects %v, want one", tt.file, tt.value, d)
			}
			continue
		}
		for i := range got {
			if got[i].From != "linux.x" {
				t.Errorf("%s: From is %q", tt.file, got[i].From)
			}
			got[i].From = ""
		}
		if len(d) > 0 || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s %s:\n got %+v %v\nwant %+v", tt.file, tt.value, got, d, tt.want)
		}
	}
	var d defect.List
	got := properties([]Write{{File: "pids.max", Value: "5", From: "a"}, {File: "pids.max", Value: "9", From: "b"}}, &d)
	if len(got) != 1 || got[0].Number != 9 || got[0].From != "b" {
		t.Errorf("written twice: %+v", got)
	}
}

func TestListBits(t *testing.T) {
	if got, err := listBits(" 7 , 8-9,, 15\n"); err != nil || !bytes.Equal(got, []byte{0x80, 0x83}) {
		t.Errorf("%x, %v", got, err)
	}
}
