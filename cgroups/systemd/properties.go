package systemd

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"github.com/gourd-oci/gourd/cgroups"
)

// scope returns the properties of a container's scope around the process pid.
func (m *Manager) scope(s *cgroups.Scope, pid int) ([]sd.Property, error) {
	slice := s.Slice
	if slice == "" {
		slice = "system.slice"
		if m.user {
			slice = "user.slice"
		}
	}
	props := []sd.Property{
		property("Description", "gourd container "+strings.TrimSuffix(s.Unit, ".scope")),
		property("Slice", slice),
		property("PIDs", []uint32{uint32(pid)}),
		// systemd keeps its hands off what is below the scope, and gives it all
		// controllers.
		property("Delegate", true),
		// The container does not end with the units of a normal start-up.
		property("DefaultDependencies", false),
		// systemd forgets the scope by itself when its last process has ended,
		// also of an OOM kill: delete then needs no D-Bus.
		property("CollectMode", "inactive-or-failed"),
		property("MemoryAccounting", true),
		property("CPUAccounting", true),
		property("IOAccounting", true),
		property("TasksAccounting", true),
	}
	limits, err := m.known(s.Properties)
	if err != nil {
		return nil, err
	}
	props = append(props, limits...)
	for _, a := range s.Annotated {
		p, err := annotated(a)
		if err != nil {
			return nil, err
		}
		props = append(props, p)
	}
	return props, nil
}

func property(name string, value any) sd.Property {
	return sd.Property{Name: name, Value: dbus.MakeVariant(value)}
}

// known returns the properties that this systemd knows. Those that it does not
// it cannot overwrite either, so the files alone are enough.
func (m *Manager) known(list []cgroups.Property) ([]sd.Property, error) {
	var out []sd.Property
	for i := range list {
		p := &list[i]
		if p.Since > 0 {
			v, err := m.systemdVersion()
			if err != nil {
				return nil, err
			}
			if v < p.Since {
				continue
			}
		}
		switch {
		case p.Bytes != nil:
			out = append(out, property(p.Name, p.Bytes))
		case p.Text != "":
			out = append(out, property(p.Name, p.Text))
		default:
			out = append(out, property(p.Name, p.Number))
		}
	}
	return out, nil
}

// systemdVersion asks systemd for its version, once.
func (m *Manager) systemdVersion() (int, error) {
	if m.version > 0 {
		return m.version, nil
	}
	s, err := m.conn.GetManagerProperty("Version")
	if err != nil {
		return 0, fmt.Errorf("ask systemd for its version: %w", err)
	}
	m.version, err = parseVersion(s)
	return m.version, err
}

// parseVersion reads what systemd calls itself, such as `"252.38-1~deb12u1"` or
// `"v245.4"`.
func parseVersion(s string) (int, error) {
	digits := strings.TrimLeft(s, `"v`)
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("systemd's version %s is not understood", s)
	}
	return n, nil
}

// annotated reads a property from an annotation. As with runc, a time in
// seconds, FooSec, becomes FooUSec, which is what the bus has.
func annotated(a cgroups.AnnotatedProperty) (sd.Property, error) {
	v, err := dbus.ParseVariant(a.Text, dbus.Signature{})
	if err != nil {
		return sd.Property{}, fmt.Errorf("%s: %q is not a value in GVariant's text format: %w", a.From, a.Text, err)
	}
	name := a.Name
	if stem, ok := strings.CutSuffix(name, "Sec"); ok && stem != "" && stem[len(stem)-1] >= 'a' && stem[len(stem)-1] <= 'z' {
		usec, err := microseconds(v.Value())
		if err != nil {
			return sd.Property{}, fmt.Errorf("%s: %q: %w", a.From, a.Text, err)
		}
		return property(stem+"USec", usec), nil
	}
	return sd.Property{Name: name, Value: v}, nil
}

// microseconds converts seconds of any type of number.
func microseconds(v any) (uint64, error) {
	const perSecond = 1_000_000
	var n uint64
	switch x := v.(type) {
	case float64:
		if !(x >= 0 && x <= math.MaxUint64/perSecond) {
			return 0, errors.New("it is not a time in seconds")
		}
		return uint64(x * perSecond), nil
	case byte:
		n = uint64(x)
	case uint16:
		n = uint64(x)
	case uint32:
		n = uint64(x)
	case uint64:
		n = x
	case int16:
		n = uint64(x)
	case int32:
		n = uint64(x)
	case int64:
		n = uint64(x)
	default:
		return 0, errors.New("it is not a number")
	}
	if n > math.MaxUint64/perSecond { // negative ones too
		return 0, errors.New("it is not a time in seconds")
	}
	return n * perSecond, nil
}
