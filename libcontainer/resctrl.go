package libcontainer

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/resctrl"
)

// resctrl.go: the group of the container in resctrl, linux.intelRdt.

// findResctrl returns where resctrl is mounted, for a config that asks for it.
func findResctrl(s *specs.Spec) (string, error) {
	if s.Linux == nil || s.Linux.IntelRdt == nil {
		return "", nil
	}
	return resctrl.Find()
}

// note is what is noted of what create makes beyond the state directory, before
// it is made: the cgroup, and in further lines the groups of resctrl. (Neither has
// a line break in its name: the kernel takes none.)
func note(p *plan.Plan) string {
	lines := []string{cgroupNote(&p.Cgroup)}
	if p.Resctrl != nil {
		lines = append(lines, p.Resctrl.Missing()...)
	}
	return strings.Join(lines, "\n")
}

// whileWaiting returns what does the steps to a child that waits, the nil ones
// left out; nil if there are none, for then it need not wait.
func whileWaiting(steps ...func(pid int) error) func(pid int) error {
	var do []func(pid int) error
	for _, s := range steps {
		if s != nil {
			do = append(do, s)
		}
	}
	if len(do) == 0 {
		return nil
	}
	return func(pid int) error {
		for _, s := range do {
			if err := s(pid); err != nil {
				return err
			}
		}
		return nil
	}
}

// joinGroup returns what moves a child into the container's group: while it has
// one thread, whose group those of a Go program then have too.
func joinGroup(r *resctrl.Record) func(pid int) error {
	if r == nil {
		return nil
	}
	return r.Join
}

// schemes returns the lines that an update gives the container's group.
func (o *UpdateOptions) schemes() ([]resctrl.Line, error) {
	var d defect.List
	var lines []resctrl.Line
	for _, s := range []struct {
		flag, text string
		check      func(string, *defect.List) []resctrl.Line
	}{
		{"--l3-cache-schema", o.L3CacheSchema, resctrl.CheckL3},
		{"--mem-bw-schema", o.MemBwSchema, resctrl.CheckMB},
	} {
		var own defect.List
		for _, l := range s.check(s.text, &own) {
			l.From = s.flag
			lines = append(lines, l)
		}
		for _, one := range own {
			d.Add(s.flag, "%s", one.Problem)
		}
	}
	return lines, spec.In("update", d.Err())
}

// updateGroup gives the container's group the lines of the update, and returns
// what takes them back.
func (c *Container) updateGroup(lines []resctrl.Line) (back func() error, err error) {
	if len(lines) == 0 {
		return func() error { return nil }, nil
	}
	if c.kept.Resctrl == nil {
		return nil, fmt.Errorf("%s: the container has no linux.intelRdt, and so no group to be changed", lines[0].From)
	}
	return c.kept.Resctrl.Update(lines)
}
