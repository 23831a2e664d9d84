package systemd

import (
	"math"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/gourd-oci/gourd/cgroups"
)

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]int{`"v245.4-1.fc32"`: 245, "245": 245, `"252.38-1~deb12u1"`: 252, "v257~rc1": 257, "": 0, "systemd": 0, `"v"`: 0} {
		got, err := parseVersion(s)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("parseVersion(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
}

func TestAnnotated(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		wantName   string
		want       any // nil: refused
	}{
		{"TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", uint64(123456789)},
		{"CollectMode", "'inactive-or-failed'", "CollectMode", "inactive-or-failed"},
		{"TimeoutStopSec", "uint64 5", "TimeoutStopUSec", uint64(5_000_000)},
		{"TimeoutStopSec", "0.5", "TimeoutStopUSec", uint64(500_000)},
		{"TimeoutStopSec", "7", "TimeoutStopUSec", uint64(7_000_000)},
		{"TimeoutStopSec", "-7", "", nil},
		{"TimeoutStopSec", "'7'", "", nil},
		{"TimeoutStopSec", "uint64 18446744073709551615", "", nil},
		{"TimeoutStopSec", "-1.0", "", nil},
		{"FooUSec", "'x'", "FooUSec", "x"}, // no lower case before Sec
		{"KillMode", "'process", "", nil},
	} {
		p, err := annotated(cgroups.AnnotatedProperty{Name: tt.name, Text: tt.text})
		if tt.want == nil {
			if err == nil {
				t.Errorf("%s=%s is taken as %v", tt.name, tt.text, p)
			}
			continue
		}
		if err != nil || p.Name != tt.wantName || p.Value.Value() != tt.want {
			t.Errorf("%s=%s: %v %v, %v", tt.name, tt.text, p.Name, p.Value, err)
		}
	}
}

func TestMicroseconds(t *testing.T) {
	for _, v := range []any{byte(3), int16(3), uint16(3), int32(3), uint32(3), int64(3), uint64(3), 3.0} {
		if n, err := microseconds(v); err != nil || n != 3_000_000 {
			t.Errorf("%T: %d, %v", v, n, err)
		}
	}
	for _, v := range []any{int16(-1), int64(-1), math.NaN(), math.Inf(1), true, "3"} {
		if n, err := microseconds(v); err == nil {
			t.Errorf("%T %v: %d", v, v, n)
		}
	}
}

func TestScopeProperties(t *testing.T) {
	m := &Manager{version: 240}
	props, err := m.scope(&cgroups.Scope{
		Unit: "a-b.scope",
		Properties: []cgroups.Property{
			{Name: "MemoryMax", Number: 5}, {Name: "AllowedCPUs", Bytes: []byte{1}, Since: 244}, {Name: "OOMPolicy", Text: "kill", Since: 239},
		},
	}, 77)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, p := range props {
		if _, twice := got[p.Name]; twice {
			t.Errorf("%s is there twice", p.Name)
		}
		got[p.Name] = p.Value.Value()
	}
	for name, want := range map[string]any{
		"Slice": "system.slice", "Delegate": true, "MemoryMax": uint64(5), "OOMPolicy": "kill", "CollectMode": "inactive-or-failed",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if pids, ok := got["PIDs"].([]uint32); !ok || len(pids) != 1 || pids[0] != 77 {
		t.Errorf("PIDs are %v", got["PIDs"])
	}
	if _, ok := got["AllowedCPUs"]; ok {
		t.Error("a property is sent that this systemd does not know")
	}
	if _, err := dbus.ParseSignature(dbus.SignatureOf(props).String()); err != nil {
		t.Error(err)
	}
	m.user = true
	props, err = m.scope(&cgroups.Scope{Unit: "a.scope"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range props {
		if p.Name == "Slice" && p.Value.Value() != "user.slice" {
			t.Errorf("the user's slice is %v", p.Value)
		}
	}
}
