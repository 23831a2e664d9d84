package cgroups

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// devices.go: which devices the container may open and make (runtime-spec,
// "Allowed Device list"). cgroup v2 has no file for it but an eBPF program
// (cgroup-v2.rst, "Device controller"): devices_program.go.

// Devices says which accesses to devices are allowed. It is minimal: a rule
// that changes nothing is not in it.
type Devices struct {
	Char, Block DeviceRules
}

// DeviceRules are the rules for one type of device. Each right of an access, to
// read, write or mknod, is decided by the last rule that covers it, and by Allow
// where none does; the access is allowed if all its rights are.
type DeviceRules struct {
	Allow bool
	Rules []DeviceRule
}

// DeviceRule allows or denies the rights of Access, a composition of r, w and
// m, to the devices with the numbers Major and Minor; -1 is every number.
type DeviceRule struct {
	Allow        bool
	Major, Minor int64
	Access       Access
}

// Access is a set of rights, with the kernel's bits (linux/bpf.h).
type Access uint8

// The rights of an Access.
const (
	mayMknod Access = 1 << iota // BPF_DEVCG_ACC_MKNOD
	mayRead                     // BPF_DEVCG_ACC_READ
	mayWrite                    // BPF_DEVCG_ACC_WRITE

	all = mayMknod | mayRead | mayWrite
)

// defaultDevices are what a container may use whatever its config says: to make
// any node, and to open the devices that the spec has in every container
// ("Default Devices"), its terminals, and /dev/net/tun. They are runc's.
func defaultDevices() []rule {
	return []rule{
		{'c', DeviceRule{true, -1, -1, mayMknod}},
		{'b', DeviceRule{true, -1, -1, mayMknod}},
		{'c', DeviceRule{true, 1, 3, all}},    // null
		{'c', DeviceRule{true, 1, 5, all}},    // zero
		{'c', DeviceRule{true, 1, 7, all}},    // full
		{'c', DeviceRule{true, 1, 8, all}},    // random
		{'c', DeviceRule{true, 1, 9, all}},    // urandom
		{'c', DeviceRule{true, 5, 0, all}},    // tty
		{'c', DeviceRule{true, 5, 2, all}},    // ptmx
		{'c', DeviceRule{true, 10, 200, all}}, // net/tun
		{'c', DeviceRule{true, 136, -1, all}}, // pts
	}
}

// rule is a DeviceRule with its type: 'c', 'b', or 'a' for both.
type rule struct {
	kind byte
	DeviceRule
}

const devicesFrom = "linux.resources.devices"

// compileDevices turns linux.resources.devices into Devices, with the defaults
// put where the list itself can still deny one of them by its number: behind
// the last rule that denies without naming a device. Nothing is allowed that no
// rule allows.
func compileDevices(list []specs.LinuxDeviceCgroup, d *defect.List) Devices {
	rules := make([]rule, 0, len(list)+11)
	defaultsAt := 0
	for i := range list {
		r, ok := parseRule(&list[i], devicesFrom+"["+strconv.Itoa(i)+"]", d)
		if !ok {
			continue
		}
		rules = append(rules, r)
		if !r.Allow && r.Major < 0 && r.Minor < 0 {
			defaultsAt = len(rules)
		}
	}
	rules = slices.Insert(rules, defaultsAt, defaultDevices()...)
	var out Devices
	for _, r := range rules {
		if r.kind != 'b' {
			out.Char.add(r.DeviceRule)
		}
		if r.kind != 'c' {
			out.Block.add(r.DeviceRule)
		}
	}
	out.Char.order()
	out.Block.order()
	if n := len(assemble(&out)); n > maxInsns {
		d.Add(devicesFrom, "the rules make an eBPF program of %d instructions, and the kernel takes %d", n, maxInsns)
	}
	return out
}

func parseRule(c *specs.LinuxDeviceCgroup, from string, d *defect.List) (rule, bool) {
	before := len(*d)
	r := rule{'a', DeviceRule{Allow: c.Allow, Major: -1, Minor: -1}}
	switch c.Type {
	case "", "a":
	case "b", "c":
		r.kind = c.Type[0]
	default:
		d.Add(from+".type", "%q is none of a, b and c", c.Type)
	}
	for _, n := range [...]struct {
		name string
		from *int64
		to   *int64
	}{{".major", c.Major, &r.Major}, {".minor", c.Minor, &r.Minor}} {
		if n.from == nil {
			continue
		}
		if *n.from < -1 || *n.from > math.MaxInt32 { // -1 is what older engines send for "all"
			d.Add(from+n.name, "%d is not a device number", *n.from)
		}
		*n.to = *n.from
	}
	if strings.Trim(c.Access, "rwm") != "" {
		d.Add(from+".access", "%q has something else than r, w and m in it", c.Access)
	} else if c.Access == "" {
		d.Add(from+".access", "it is empty: name at least one of r, w and m")
	}
	r.Access = parseAccess(c.Access)
	return r, len(*d) == before
}

func parseAccess(s string) Access {
	var a Access
	for i := range len(s) {
		switch s[i] {
		case 'r':
			a |= mayRead
		case 'w':
			a |= mayWrite
		case 'm':
			a |= mayMknod
		}
	}
	return a
}

// String returns the rights as the config has them: "rwm".
func (a Access) String() string {
	var s string
	for _, r := range [...]struct {
		right Access
		name  string
	}{{mayRead, "r"}, {mayWrite, "w"}, {mayMknod, "m"}} {
		if a&r.right != 0 {
			s += r.name
		}
	}
	return s
}

// MarshalText makes a printed plan show the rights as the config has them.
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (a *Access) UnmarshalText(text []byte) error {
	*a = parseAccess(string(text))
	return nil
}

// covers tells whether r matches every device that o matches.
func (r *DeviceRule) covers(o *DeviceRule) bool {
	return (r.Major < 0 || r.Major == o.Major) && (r.Minor < 0 || r.Minor == o.Minor)
}

// overlaps tells whether there is a device that both match.
func (r *DeviceRule) overlaps(o *DeviceRule) bool {
	return (r.Major < 0 || o.Major < 0 || r.Major == o.Major) && (r.Minor < 0 || o.Minor < 0 || r.Minor == o.Minor)
}

// add puts r on top of the rules and keeps them minimal.
func (d *DeviceRules) add(r DeviceRule) {
	if r.Major < 0 && r.Minor < 0 && r.Access == all {
		*d = DeviceRules{Allow: r.Allow} // it decides everything
		return
	}
	// What r covers no longer matters where r decides.
	kept := d.Rules[:0]
	for _, o := range d.Rules {
		if r.covers(&o) {
			o.Access &^= r.Access
		}
		if o.Access != 0 {
			kept = append(kept, o)
		}
	}
	d.Rules = kept
	if d.decides(&r) {
		return
	}
	// An equal rule may be moved up to here and joined, unless one between
	// contradicts.
	for i := len(d.Rules) - 1; i >= 0; i-- {
		o := &d.Rules[i]
		if o.Major == r.Major && o.Minor == r.Minor && o.Allow == r.Allow {
			r.Access |= o.Access
			d.Rules = slices.Delete(d.Rules, i, i+1)
			d.add(r)
			return
		}
		if o.Allow != r.Allow && o.overlaps(&r) {
			break
		}
	}
	d.Rules = append(d.Rules, r)
}

// decides tells whether the rules below r have the same verdict as r already,
// for every device and right of r.
func (d *DeviceRules) decides(r *DeviceRule) bool {
	for right := mayMknod; right <= mayWrite; right <<= 1 {
		if r.Access&right != 0 && !d.decidesRight(r, right) {
			return false
		}
	}
	return true
}

func (d *DeviceRules) decidesRight(r *DeviceRule, right Access) bool {
	for i := len(d.Rules) - 1; i >= 0; i-- {
		o := &d.Rules[i]
		if o.Access&right == 0 || !o.overlaps(r) {
			continue
		}
		if o.Allow != r.Allow {
			return false
		}
		if o.covers(r) {
			return true
		}
	}
	return d.Allow == r.Allow
}

// order sorts rules of a single verdict by their numbers, which changes
// nothing, so that those of one major number stand together. The wildcards come
// first: the program begins at the end.
func (d *DeviceRules) order() {
	for i := range d.Rules {
		if d.Rules[i].Allow == d.Allow {
			return // an exception to an exception: the order matters
		}
	}
	slices.SortStableFunc(d.Rules, func(a, b DeviceRule) int {
		if a.Major != b.Major {
			return int(a.Major - b.Major)
		}
		return int(a.Minor - b.Minor)
	})
}

// equal tells whether d and o decide alike: minimal as both are, it is by the
// same rules.
func (d *Devices) equal(o *Devices) bool {
	return sameRules(&d.Char, &o.Char) && sameRules(&d.Block, &o.Block)
}

// allowAll tells whether there is nothing to deny.
func (d *Devices) allowAll() bool {
	return d.Char.Allow && d.Block.Allow && len(d.Char.Rules) == 0 && len(d.Block.Rules) == 0
}
