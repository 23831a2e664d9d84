package credentials

import (
	"errors"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// MemoryPolicy is linux.memoryPolicy in the kernel's terms (set_mempolicy(2)).
type MemoryPolicy struct {
	Mode  uint32       // MPOL_*, flags included
	Nodes *unix.CPUSet // nil: none; bit n for node n
}

// MaxNode is set_mempolicy's maxnode for Nodes. The kernel looks at one bit less.
const MaxNode = 1024

// Whether a mode takes nodes.
const (
	noNodes = iota
	mayHaveNodes
	needsNodes
)

// memoryMode is a mode of set_mempolicy.
type memoryMode struct {
	name     specs.MemoryPolicyModeType
	mode     uint32
	nodes    int  // noNodes, mayHaveNodes or needsNodes
	balances bool // MPOL_F_NUMA_BALANCING is for it
}

// memoryFlag is a flag of set_mempolicy.
type memoryFlag struct {
	name specs.MemoryPolicyFlagType
	bit  uint32
}

// The modes and flags of the spec, and what the kernel wants of them
// (sanitize_mpol_flags and mpol_new in mm/mempolicy.c).
var (
	memoryModes = [...]memoryMode{
		{specs.MpolDefault, unix.MPOL_DEFAULT, noNodes, false},
		{specs.MpolBind, unix.MPOL_BIND, needsNodes, true},
		{specs.MpolInterleave, unix.MPOL_INTERLEAVE, needsNodes, false},
		{specs.MpolWeightedInterleave, unix.MPOL_WEIGHTED_INTERLEAVE, needsNodes, false},
		{specs.MpolPreferred, unix.MPOL_PREFERRED, mayHaveNodes, false},
		{specs.MpolPreferredMany, unix.MPOL_PREFERRED_MANY, needsNodes, true},
		{specs.MpolLocal, unix.MPOL_LOCAL, noNodes, false},
	}
	memoryFlags = [...]memoryFlag{
		{specs.MpolFNumaBalancing, unix.MPOL_F_NUMA_BALANCING},
		{specs.MpolFRelativeNodes, unix.MPOL_F_RELATIVE_NODES},
		{specs.MpolFStaticNodes, unix.MPOL_F_STATIC_NODES},
	}
)

// MemoryPolicyModes returns the names of the modes.
func MemoryPolicyModes() []string {
	names := make([]string, 0, len(memoryModes))
	for i := range memoryModes {
		names = append(names, string(memoryModes[i].name))
	}
	return names
}

// MemoryPolicyFlags returns the names of the flags.
func MemoryPolicyFlags() []string {
	names := make([]string, 0, len(memoryFlags))
	for i := range memoryFlags {
		names = append(names, string(memoryFlags[i].name))
	}
	return names
}

// compileMemoryPolicy checks the rules that do not depend on the host: whether
// the kernel knows the mode, and there is memory in the nodes, shows when it is
// set.
func compileMemoryPolicy(p *specs.LinuxMemoryPolicy, d *defect.List) *MemoryPolicy {
	if p == nil {
		return nil
	}
	const at = "linux.memoryPolicy"
	var mode *memoryMode
	for i := range memoryModes {
		if memoryModes[i].name == p.Mode {
			mode = &memoryModes[i]
		}
	}
	out := new(MemoryPolicy)
	if mode == nil { // "invalid memory policy …" are words that are known from runc
		d.Add(at+".mode", "invalid memory policy mode %q: it is one of %s", string(p.Mode), strings.Join(MemoryPolicyModes(), ", "))
	} else {
		out.Mode = mode.mode
	}
	if p.Nodes != "" {
		out.Nodes = new(unix.CPUSet)
		if err := linux.EachInList(p.Nodes, MaxNode-1, out.Nodes.Set); err != nil {
			d.Add(at+".nodes", "invalid memory policy nodes %q: they are not a list like 0-3,7: %v", p.Nodes, err)
		}
	}
	for i, name := range p.Flags {
		bit := memoryFlagBit(name)
		if bit == 0 {
			d.Add(fmt.Sprintf("%s.flags[%d]", at, i), "invalid memory policy flag %q: it is one of %s", string(name), strings.Join(MemoryPolicyFlags(), ", "))
		}
		out.Mode |= bit
	}
	if mode != nil {
		checkMemoryPolicy(mode, p, out, d)
	}
	return out
}

func memoryFlagBit(name specs.MemoryPolicyFlagType) uint32 {
	for i := range memoryFlags {
		if memoryFlags[i].name == name {
			return memoryFlags[i].bit
		}
	}
	return 0
}

// checkMemoryPolicy checks that nodes and flags go with the mode.
func checkMemoryPolicy(mode *memoryMode, p *specs.LinuxMemoryPolicy, out *MemoryPolicy, d *defect.List) {
	bits := out.Mode
	const nodes, flags = "linux.memoryPolicy.nodes", "linux.memoryPolicy.flags"
	const places = unix.MPOL_F_STATIC_NODES | unix.MPOL_F_RELATIVE_NODES
	switch {
	case mode.nodes == noNodes && p.Nodes != "":
		d.Add(nodes, "%s takes none: the mode requires 0 nodes but got %d", mode.name, out.Nodes.Count())
	case mode.nodes == needsNodes && p.Nodes == "":
		d.Add(nodes, "missing: %s needs at least one", mode.name)
	}
	switch {
	case bits&places == places:
		d.Add(flags, "%s and %s exclude each other", specs.MpolFStaticNodes, specs.MpolFRelativeNodes)
	case bits&places != 0 && mode.nodes == noNodes:
		d.Add(flags, "%s has no nodes that a flag could be about", mode.name)
	case bits&places != 0 && p.Nodes == "" && mode.nodes == mayHaveNodes:
		d.Add(flags, "%s without nodes has none that a flag could be about", mode.name)
	}
	if bits&unix.MPOL_F_NUMA_BALANCING != 0 && !mode.balances {
		d.Add(flags, "%s is for %s and %s, not for %s", specs.MpolFNumaBalancing, specs.MpolBind, specs.MpolPreferredMany, mode.name)
	}
}

// SetMemoryPolicy gives the calling thread, and what it executes or forks, the
// policy. It takes no privilege.
func (p *Plan) SetMemoryPolicy() error {
	m := p.MemoryPolicy
	if m == nil {
		return nil
	}
	if err := unix.SetMemPolicy(int(m.Mode), m.Nodes); err != nil {
		return m.Error(err)
	}
	return nil
}

// Error is the error of who cannot set the policy.
func (m *MemoryPolicy) Error(err error) error {
	switch {
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("%w (one of the nodes must have memory and be in the cpuset, and older kernels do not know all modes)", err)
	case errors.Is(err, unix.ENOSYS):
		err = fmt.Errorf("%w (it is a kernel without NUMA)", err)
	}
	return fmt.Errorf("linux.memoryPolicy: set mode %#x: %w", m.Mode, err)
}
