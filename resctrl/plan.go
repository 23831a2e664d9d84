// Package resctrl puts a container into a group of the kernel's resctrl
// filesystem, which shares out caches and memory bandwidth: linux.intelRdt
// (config-linux.md, "IntelRdt"; the kernel's resctrl.rst).
//
// Compile turns the property into a Plan, plain data, and finds what is wrong
// with it. Create makes the groups that are to be made and writes what the
// processor shares out, Record.Join moves a process in, which hands the group
// down to all that it forks, and Record.Remove takes away what was made for the
// container alone.
//
// The filesystem is the host's, and mounted by it: nothing is mounted here.
package resctrl

import (
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// Env is what Compile has to know beyond linux.intelRdt.
type Env struct {
	// Root is where resctrl is mounted; "" if it is nowhere (see Find).
	Root string
	// ID is the container's id: the name of its group where the config has none,
	// and that of its monitoring group.
	ID string
}

// Plan is what linux.intelRdt asks for.
type Plan struct {
	Root  string // where resctrl is mounted
	Group string // the group's directory; Root is the default group
	// Own is whether the group goes by the container's id, and so ends with it
	// if Create has made it.
	Own bool
	// MayMake is whether Create makes a group that is not there.
	MayMake bool
	// Schemes are the lines of l3CacheSchema and memBwSchema, Schemata those of
	// schemata, in the order in which they are written.
	Schemes, Schemata []Line
	// Monitor is the directory of the monitoring group; "" for none.
	Monitor string
}

// Line is a line of a schemata file, and the JSON path that it comes from.
type Line struct{ Text, From string }

const at = "linux.intelRdt"

// Compile returns the plan, nil where there is no linux.intelRdt.
func Compile(r *specs.LinuxIntelRdt, e Env, d *defect.List) *Plan {
	if r == nil {
		return nil
	}
	if e.Root == "" {
		d.Add(at, "no resctrl filesystem is mounted here: on a processor that shares out its caches \"mount -t resctrl resctrl /sys/fs/resctrl\" does it, and gourd doctor tells whether the kernel has it")
	}
	p := &Plan{Root: e.Root, Own: r.ClosID == ""}
	name := r.ClosID
	switch why := groupProblem(name); {
	case p.Own:
		if why := groupProblem(e.ID); why != "" {
			d.Add(at+".closID", "missing: the container's id %q cannot be the name of its group: %s", e.ID, why)
		}
		name = e.ID
	case name == "/":
		name = "" // the default group
	case why != "":
		d.Add(at+".closID", "%q cannot be the name of a group: %s", name, why)
	}
	p.Group = filepath.Join(e.Root, name)
	p.compileSchemes(r, d)
	p.MayMake = p.Own || len(p.Schemes) > 0 || len(p.Schemata) > 0
	if r.EnableMonitoring {
		if why := groupProblem(e.ID); why != "" && !p.Own {
			d.Add(at+".enableMonitoring", "the container's id %q cannot be the name of its monitoring group: %s", e.ID, why)
		}
		p.Monitor = filepath.Join(p.Group, "mon_groups", e.ID)
	}
	return p
}

// groupProblem says why a group cannot have this name; "" if it can.
func groupProblem(name string) string {
	switch {
	case name == "." || name == "..":
		return "it leads elsewhere"
	case strings.ContainsRune(name, '/'):
		return "groups have no groups below them"
	case strings.ContainsAny(name, "\x00\n"):
		return "it has a byte in it that the kernel refuses"
	case len(name) > 255:
		return "it is longer than a file name"
	case name == "info" || name == "mon_groups" || name == "mon_data":
		return "resctrl has a directory of this name that is no group"
	}
	return ""
}

// compileSchemes checks what the spec says of the lines; what the processor
// shares out, and how much of it there is, only the kernel knows.
func (p *Plan) compileSchemes(r *specs.LinuxIntelRdt, d *defect.List) {
	if s := r.L3CacheSchema; s != "" {
		const from = at + ".l3CacheSchema"
		// It SHOULD NOT have several lines: it may, for code and data apart.
		for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
			p.Schemes = append(p.Schemes, checkLine(line, from, d))
		}
	}
	if s := r.MemBwSchema; s != "" {
		const from = at + ".memBwSchema"
		p.Schemes = append(p.Schemes, checkLine(s, from, d))
		if !strings.HasPrefix(s, "MB:") {
			d.Add(from, "%q does not start with MB:", s)
		}
	}
	for i, s := range r.Schemata {
		p.Schemata = append(p.Schemata, checkLine(s, schemataAt(i), d))
	}
}

// CheckL3 and CheckMB check what an update gives for l3CacheSchema and
// memBwSchema, and return the lines.
func CheckL3(s string, d *defect.List) []Line {
	p := new(Plan)
	p.compileSchemes(&specs.LinuxIntelRdt{L3CacheSchema: s}, d)
	return p.Schemes
}

// CheckMB: see CheckL3.
func CheckMB(s string, d *defect.List) []Line {
	p := new(Plan)
	p.compileSchemes(&specs.LinuxIntelRdt{MemBwSchema: s}, d)
	return p.Schemes
}
