package netdevices

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

func TestCompile(t *testing.T) {
	dev := func(pairs ...string) map[string]specs.LinuxNetDevice {
		m := map[string]specs.LinuxNetDevice{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = specs.LinuxNetDevice{Name: pairs[i+1]}
		}
		return m
	}
	own := Env{Network: true}
	for _, tt := range []struct {
		name    string
		list    map[string]specs.LinuxNetDevice
		env     Env
		want    []Device
		defects []string // the beginnings
	}{
		{"none", dev(), Env{Rootless: true}, nil, nil},
		{"one", dev("eth0", ""), own, []Device{{"eth0", "eth0"}}, nil},
		{"renamed", dev("eth0", "a"), own, []Device{{"eth0", "a"}}, nil},
		{"its own name", dev("eth0", "eth0"), own, []Device{{"eth0", "eth0"}}, nil},
		{"sorted, patterns last", dev("c", "", "b", "x%d", "a", "%dy", "d", ""), own,
			[]Device{{"c", "c"}, {"d", "d"}, {"a", "%dy"}, {"b", "x%d"}}, nil},
		{"a swap", dev("a", "b", "b", "a"), own, []Device{{"a", "b"}, {"b", "a"}}, nil},
		{"two with one pattern", dev("a", "x%d", "b", "x%d"), own, []Device{{"a", "x%d"}, {"b", "x%d"}}, nil},
		{"any other byte", dev("é#", "\x01"), own, []Device{{"é#", "\x01"}}, nil},

		{"no namespace", dev("a", ""), Env{}, nil, []string{"linux.netDevices: linux.namespaces has no network"}},
		{"the host's", dev("a", ""), Env{Network: true, Host: true}, nil, []string{"linux.netDevices: the network namespace"}},
		{"rootless", dev("a", ""), Env{Network: true, Rootless: true}, nil, []string{"linux.netDevices: to move a device"}},
		{"lo", dev("lo", "", "a", "lo"), own, nil, []string{"linux.netDevices.a.name: each", "linux.netDevices.lo: the loopback", "linux.netDevices.lo: linux.netDevices.a"}},
		{"one name twice", dev("a", "x", "b", "x"), own, nil, []string{`linux.netDevices.b.name: linux.netDevices.a is to have the name "x" too`}},
		{"a name and another's", dev("a", "b", "b", ""), own, nil, []string{`linux.netDevices.b: linux.netDevices.a is to have the name "b" too`}},
		{"a byte of Latin 1", dev("à", ""), own, nil, []string{`linux.netDevices["à"]: "à" cannot be`}},
		{"a NUL", dev("a", "b\x00"), own, nil, []string{"linux.netDevices.a.name: "}},
		{"percent", dev("a%d", "", "b", "%", "c", "%d%d", "d", "%d%", "e", "%%d", "f", "x%x"), own, nil,
			[]string{"linux.netDevices.a%d: ", "linux.netDevices.b.name: ", "linux.netDevices.c.name: ", "linux.netDevices.d.name: ", "linux.netDevices.e.name: ", "linux.netDevices.f.name: "}},
		{"long", dev("123456789012345", "", "1234567890123456", "", "x", "1234567890123456"), own, nil,
			[]string{`linux.netDevices["1234567890123456"]: "12`, `linux.netDevices.x.name: "12`, "linux.netDevices.x.name: linux.netDevices["}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			got := Compile(tt.list, tt.env, &d)
			if tt.defects == nil && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			ok := len(d) == len(tt.defects)
			for _, want := range tt.defects {
				found := false
				for _, one := range d {
					found = found || strings.HasPrefix(one.String(), want)
				}
				ok = ok && found
			}
			if !ok {
				t.Errorf("defects %q, want %q", d, tt.defects)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	host := []link{{index: 1, name: "lo", up: true}, {index: 2, name: "a", up: true}, {index: 5, name: "b"}}
	inside := []link{{index: 1, name: "lo"}, {index: 5, name: "x0", other: []string{"long name"}}}
	at := func(index int32) address { return address{index: index} }
	got, err := match([]Device{{"a", "eth0"}, {"b", "x%d"}}, host, inside, []address{at(1), at(2), at(5), at(2)}, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].index != 2 || len(got[0].had) != 2 || !got[0].was.up || got[1].index != 6 || len(got[1].had) != 1 {
		t.Errorf("got %+v", got)
	}
	_, err = match([]Device{{"a", "x0"}, {"b", "long name"}, {"c", "c"}}, host, inside, nil, false)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v, want three defects", err)
	}
	// What a restore finds in a namespace is there already.
	got, err = match([]Device{{"c", "x0"}, {"d", "y%d"}, {"a", "a"}}, host, inside, nil, true)
	if err != nil || len(got) != 1 || got[0].device.Name != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err = match([]Device{{"c", "nosuch"}}, host, inside, nil, true); err == nil {
		t.Error("a device that is nowhere is no error")
	}
}

func TestLabel(t *testing.T) {
	for _, tt := range [][3]string{
		{"eth0", "a", "a"},
		{"eth0:1", "a", "a:1"},
		{"eth0:a:b", "x", "x:a:b"},
		{"eth0:12345678", "longername", "longer:12345678"},
	} {
		if got := label(tt[0], tt[1]); got != tt[2] || len(got) >= unix.IFNAMSIZ {
			t.Errorf("label(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

// TestAddress reads messages of the kernel's, and what is cut off in them.
func TestAddress(t *testing.T) {
	m := []byte{unix.AF_INET, 24, 0x80, unix.RT_SCOPE_UNIVERSE, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(m[4:], 7)
	bare, err := parseAddress(m)
	if err != nil || bare.index != 7 || !bare.lasting() || bare.kernels() || bare.String() != "an address" {
		t.Errorf("got %+v, %v", bare, err)
	}
	m = append(m, nl.NewRtAttr(unix.IFA_LOCAL, []byte{10, 0, 0, 1}).Serialize()...)
	m = append(m, nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NOPREFIXROUTE)).Serialize()...)
	m = append(m, nl.NewRtAttr(ifaProto, []byte{lastKernel}).Serialize()...)
	a, err := parseAddress(m)
	if err != nil || a.lasting() || !a.kernels() || a.String() != "10.0.0.1/24" || len(a.attrs) != 3 {
		t.Errorf("got %+v, %v", a, err)
	}
	m[3] = unix.RT_SCOPE_LINK
	m[len(m)-4]++ // the value of IFA_PROTO
	if a, err = parseAddress(m); err != nil || a.lasting() || a.kernels() {
		t.Errorf("got %+v, %v", a, err)
	}
	for n := range unix.SizeofIfAddrmsg {
		if _, err := parseAddress(m[:n]); err == nil {
			t.Errorf("%d bytes are an address", n)
		}
	}
}
