package cgroups

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
)

// systemd.go: what the systemd manager asks systemd for, as plain data. Package
// cgroups/systemd sends it.

// Scope is the transient unit around a container (systemd.scope(5)).
type Scope struct {
	Unit  string // "gourd-web.scope"
	Slice string // "system.slice"; "" leaves it to the manager's default
	// Properties are those of the limits that are written early, Late those of
	// the late ones, and Annotated those that annotations ask for.
	Properties, Late []Property
	Annotated        []AnnotatedProperty
}

// Property is one property of a unit (systemd.resource-control(5)). It has one
// value: Bytes if that is not nil, else Text if that is not empty, else Number.
type Property struct {
	Name   string
	Number uint64
	Text   string
	Bytes  []byte
	Since  int    // the version of systemd that knows it, 0 for every one in use
	From   string // the JSON path that asks for it
}

// AnnotatedProperty is a property from an annotation org.systemd.property.Name,
// whose Text is in GVariant's text format.
type AnnotatedProperty struct {
	Name, Text, From string
}

// compileScope reads cgroupsPath as "slice:prefix:name". Unset, the scope is
// gourd-ID.scope.
func compileScope(e *Env, d *defect.List) Scope {
	const where = "linux.cgroupsPath"
	s := Scope{Unit: "gourd-" + e.ID + ".scope"}
	if e.CgroupsPath != "" {
		parts := strings.Split(e.CgroupsPath, ":")
		if len(parts) != 3 || parts[2] == "" {
			d.Add(where, "%q is not of the form slice:prefix:name, which the systemd manager needs", e.CgroupsPath)
			return s
		}
		s.Slice, s.Unit = parts[0], parts[2]+".scope"
		if parts[1] != "" {
			s.Unit = parts[1] + "-" + s.Unit
		}
		if strings.HasSuffix(parts[2], ".slice") {
			d.Add(where, "%q names a slice: a container is a scope", e.CgroupsPath)
		}
	}
	if !isUnitName(s.Unit) {
		d.Add(where, "%q is not a name that systemd takes for a unit", s.Unit)
	}
	if s.Slice != "" && !isSlice(s.Slice) {
		d.Add(where, "%q is not the name of a slice, such as system.slice or a-b.slice", s.Slice)
	}
	for _, key := range slices.Sorted(maps.Keys(e.Annotations)) {
		name, ok := strings.CutPrefix(key, propertyPrefix)
		if !ok {
			continue
		}
		if !isPropertyName(name) {
			d.Add("annotations."+key, "%q is not the name of a property", name)
			continue
		}
		switch name {
		case "PIDs", "Slice", "Delegate", "ControlGroup", "CollectMode":
			// Another process could be drawn into the container, or the
			// container put elsewhere than cgroupsPath says.
			d.Add("annotations."+key, "gourd itself decides that property")
			continue
		}
		s.Annotated = append(s.Annotated, AnnotatedProperty{name, e.Annotations[key], "annotations." + key})
	}
	return s
}

// propertyPrefix is before the name of a property of the scope, in annotations.
const propertyPrefix = "org.systemd.property."

// isUnitName tells whether systemd takes s as the name of a unit
// (systemd.unit(5)).
func isUnitName(s string) bool {
	return len(s) <= 255 && strings.IndexFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune(`:-_.\@`, r)
	}) < 0
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// isSlice tells whether s names a slice (systemd.slice(5)): dashes separate the
// slices that it is in, none of which may be empty.
func isSlice(s string) bool {
	name, ok := strings.CutSuffix(s, ".slice")
	if !ok || name == "" || !isUnitName(s) {
		return false
	}
	return name == "-" || !slices.Contains(strings.Split(name, "-"), "")
}

// isPropertyName is runc's rule: letters only, three at least.
func isPropertyName(s string) bool {
	return len(s) >= 3 && strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}) < 0
}

// properties returns the properties that say the same as the writes, so that
// systemd does not write something else over them. Files that systemd leaves
// alone have none. Where a file is written twice the last one counts.
func properties(ws []Write, d *defect.List) []Property {
	var out []Property
	for i := range ws {
		w := &ws[i]
		ps, err := fileProperties(w)
		if err != nil {
			d.Add(w.From, "%s %q: %v", w.File, w.Value, err)
		}
		for _, p := range ps {
			p.From = w.From
			if i := slices.IndexFunc(out, func(o Property) bool { return o.Name == p.Name }); i >= 0 {
				out[i] = p
				continue
			}
			out = append(out, p)
		}
	}
	return out
}

func fileProperties(w *Write) ([]Property, error) {
	number := func(name string) ([]Property, error) {
		n, err := limitNumber(w.Value)
		return []Property{{Name: name, Number: n}}, err
	}
	switch w.File {
	case "memory.max":
		return number("MemoryMax")
	case "memory.high":
		return number("MemoryHigh")
	case "memory.low":
		return number("MemoryLow")
	case "memory.min":
		return number("MemoryMin")
	case "memory.swap.max":
		return number("MemorySwapMax")
	case "memory.oom.group":
		policy := "continue"
		if strings.TrimSpace(w.Value) == "1" {
			policy = "kill"
		}
		return []Property{{Name: "OOMPolicy", Text: policy, Since: 253}}, nil
	case "pids.max":
		ps, err := number("TasksMax")
		ps[0].Number = max(ps[0].Number, 1) // systemd refuses 0
		return ps, err
	case "cpu.weight":
		return number("CPUWeight")
	case "cpu.idle":
		weight := uint64(0) // which systemd calls idle
		if strings.TrimSpace(w.Value) == "0" {
			weight = math.MaxUint64 // none of its own, until one is set
		}
		return []Property{{Name: "CPUWeight", Number: weight, Since: 252}}, nil
	case "cpu.max":
		return quotaProperties(w.Value)
	case "cpuset.cpus":
		b, err := listBits(w.Value)
		return []Property{{Name: "AllowedCPUs", Bytes: b, Since: 244}}, err
	case "cpuset.mems":
		b, err := listBits(w.Value)
		return []Property{{Name: "AllowedMemoryNodes", Bytes: b, Since: 244}}, err
	}
	return nil, nil
}

// limitNumber reads a limit; "max" is systemd's infinity.
func limitNumber(s string) (uint64, error) {
	if s = strings.TrimSpace(s); s == "max" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// quotaProperties is cpu.max, "QUOTA [PERIOD]", in microseconds. systemd keeps
// microseconds for each second, in steps of 1%, so the quota is rounded up to
// the next one: a sub-cgroup could not get what was asked otherwise.
func quotaProperties(v string) ([]Property, error) {
	fields := strings.Fields(v)
	if len(fields) == 0 || len(fields) > 2 {
		return nil, fmt.Errorf("it is not a quota and a period")
	}
	period := uint64(100_000)
	var out []Property
	if len(fields) == 2 {
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a period", fields[1])
		}
		period = n
		out = append(out, Property{Name: "CPUQuotaPeriodUSec", Number: n, Since: 242})
	}
	quota, err := limitNumber(fields[0])
	if err != nil {
		return nil, err
	}
	if quota != math.MaxUint64 {
		const second, step = 1_000_000, 10_000
		if quota > math.MaxUint64/second {
			return nil, fmt.Errorf("%d is too much", quota)
		}
		quota = (quota*second/period + step - 1) / step * step
	}
	return append(out, Property{Name: "CPUQuotaPerSecUSec", Number: quota}), nil
}

// listBits turns a list such as "0-3,7" into a bit map, the lowest byte first,
// as systemd takes it.
func listBits(list string) ([]byte, error) {
	var bits []byte
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
		b, errB := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
		if errA != nil || errB != nil || a > b {
			return nil, fmt.Errorf("%q is not a number or a range", part)
		}
		for ; a <= b; a++ {
			for int(a/8) >= len(bits) {
				bits = append(bits, 0)
			}
			bits[a/8] |= 1 << (a % 8)
		}
	}
	if len(bits) == 0 {
		return nil, fmt.Errorf("it is an empty list")
	}
	return bits, nil
}
