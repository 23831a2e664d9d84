package seccomp

import (
	"fmt"
	"slices"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// profile is a checked linux.seccomp: what the generators work from.
type profile struct {
	action   uint32 // the default
	flags    uint32
	notify   bool
	abis     []*abi // the machine's own first
	entries  []entry
	warnings []string
	strict   bool // warn of all that has no effect
}

// entry is one element of syscalls.
type entry struct {
	index  int // in syscalls
	action uint32
	names  []string
	// alternatives are the entry's rules: one, or, if an argument is named
	// twice, one for each condition. A rule's conditions are ordered by
	// argument; a rule without any always holds.
	alternatives [][]condition
}

// condition compares an argument of a call.
type condition struct {
	arg   uint8
	op    operator
	value uint64 // for maskedEQ already ANDed with mask
	mask  uint64 // all ones, except for maskedEQ
}

// check reads s, adds its defects to d and returns what it means. It is
// complete only if no defect was added.
func check(s *specs.LinuxSeccomp, e Env, d *defect.List) *profile {
	p := &profile{strict: e.Strict}
	p.action = checkAction(s.DefaultAction, s.DefaultErrnoRet,
		func() string { return "linux.seccomp.defaultAction" },
		func() string { return "linux.seccomp.defaultErrnoRet" }, d)
	p.notify = s.DefaultAction == specs.ActNotify
	p.checkArchitectures(s.Architectures, e, d)
	p.entries = make([]entry, 0, len(s.Syscalls))
	for i := range s.Syscalls {
		p.checkEntry(i, &s.Syscalls[i], d)
	}
	p.checkFlags(s.Flags, d)
	switch {
	case p.notify && s.ListenerPath == "":
		d.Add("linux.seccomp.listenerPath", "missing, and SCMP_ACT_NOTIFY needs it")
	case s.ListenerPath == "" && s.ListenerMetadata != "":
		d.Add("linux.seccomp.listenerMetadata", "set without listenerPath")
	case !p.notify && s.ListenerPath != "" && e.Strict:
		p.warnings = append(p.warnings, "linux.seccomp.listenerPath: ignored: nothing is SCMP_ACT_NOTIFY")
	}
	return p
}

// checkAction returns the filter's return value for an action with its errno.
// actionAt and errnoAt give the JSON paths of the two.
func checkAction(a specs.LinuxSeccompAction, errno *uint, actionAt, errnoAt func() string, d *defect.List) uint32 {
	value, known := actionNamed(string(a))
	if !known {
		d.Add(actionAt(), "unknown action %q", string(a))
		return 0
	}
	if !takesErrno(value) {
		if errno != nil {
			d.Add(errnoAt(), "%s takes no errno", string(a))
		}
		return value
	}
	if errno == nil {
		return value | uint32(unix.EPERM)
	}
	most := uint(unix.SECCOMP_RET_DATA)
	if value == unix.SECCOMP_RET_ERRNO {
		most = maxErrno // the kernel would cut it to that
	}
	if *errno > most {
		d.Add(errnoAt(), "%d is above %d", *errno, most)
	}
	return value | uint32(*errno)&unix.SECCOMP_RET_DATA
}

// checkArchitectures chooses the architectures of the filter.
func (p *profile) checkArchitectures(names []specs.Arch, e Env, d *defect.List) {
	host := hostABIs(e.Arch)
	if host == nil {
		d.Add("linux.seccomp", "no system call table for the machine's architecture %s", e.Arch)
		return
	}
	wanted := make([]int, 0, len(names))
	for i, name := range names {
		n := abiNamed(string(name))
		if n < 0 {
			d.Add(fmt.Sprintf("linux.seccomp.architectures[%d]", i), "unknown architecture %q", string(name))
			continue
		}
		wanted = append(wanted, n)
		if abis[n].slots == nil && slices.Contains(host, n) {
			p.warnings = append(p.warnings, fmt.Sprintf(
				"linux.seccomp.architectures[%d]: no system call table for %s: its programs will be killed", i, name))
		}
	}
	p.abis = selectABIs(host, wanted)
}

// checkFlags sums up the flags.
func (p *profile) checkFlags(flags []specs.LinuxSeccompFlag, d *defect.List) {
	if flags == nil {
		// runc and crun alike: the mitigation that this flag turns off costs
		// much and guards only against reads within one process.
		p.flags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	for i, name := range flags {
		path := fmt.Sprintf("linux.seccomp.flags[%d]", i)
		bit, known := flagNamed(string(name))
		switch {
		case !known:
			d.Add(path, "unknown flag %q", string(name))
		case bit == unix.SECCOMP_FILTER_FLAG_TSYNC:
			// Holds by itself: see Program.Flags.
		case bit == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV && !p.notify:
			// The kernel refuses it without a listener (EINVAL).
			p.warnings = append(p.warnings, path+": "+string(name)+" has no meaning without SCMP_ACT_NOTIFY")
		default:
			p.flags |= bit
		}
	}
	if p.notify {
		p.flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
}

// checkEntry reads syscalls[i].
func (p *profile) checkEntry(i int, c *specs.LinuxSyscall, d *defect.List) {
	// Paths are made only for defects: a profile has hundreds of places.
	at := func(field string) string { return fmt.Sprintf("linux.seccomp.syscalls[%d].%s", i, field) }
	e := entry{index: i, names: c.Names}
	e.action = checkAction(c.Action, c.ErrnoRet,
		func() string { return at("action") }, func() string { return at("errnoRet") }, d)
	p.notify = p.notify || c.Action == specs.ActNotify
	if len(c.Names) == 0 {
		d.Add(at("names"), "empty, and needs one name at least")
	}
	for j, name := range c.Names {
		if name == "" {
			d.Add(at(fmt.Sprintf("names[%d]", j)), "empty")
		}
	}
	var conds []condition
	var seen, twice uint
	for j := range c.Args {
		a := &c.Args[j]
		op, known := operatorNamed(string(a.Op))
		if !known {
			d.Add(at(fmt.Sprintf("args[%d].op", j)), "unknown operator %q", string(a.Op))
		}
		if a.Index > 5 {
			d.Add(at(fmt.Sprintf("args[%d].index", j)), "%d is above 5: a system call has six arguments", a.Index)
			continue
		}
		twice |= seen & (1 << a.Index)
		seen |= 1 << a.Index
		cond := condition{arg: uint8(a.Index), op: op, value: a.Value, mask: ^uint64(0)}
		if op == maskedEQ {
			// The odd one: value is the mask and valueTwo what is compared
			// (seccomp_rule_add(3)).
			cond.value, cond.mask = a.ValueTwo&a.Value, a.Value
		} else if a.ValueTwo != 0 && p.strict {
			p.warnings = append(p.warnings, at(fmt.Sprintf("args[%d].valueTwo", j))+": ignored: "+string(a.Op)+" has one value")
		}
		conds = append(conds, cond)
	}
	if twice != 0 {
		for j := range conds {
			e.alternatives = append(e.alternatives, conds[j:j+1:j+1])
		}
	} else {
		slices.SortFunc(conds, func(a, b condition) int { return int(a.arg) - int(b.arg) })
		e.alternatives = [][]condition{conds}
	}
	p.entries = append(p.entries, e)
}

// unknown warns of a name that no architecture has, if skipping it lets
// through what the rule would have blocked, or if every one is wanted.
func (p *profile) unknown(e *entry, name string) {
	switch {
	case permits(p.action) && !permits(e.action):
		p.warnings = append(p.warnings, fmt.Sprintf(
			"linux.seccomp.syscalls[%d].names: unknown system call %q: it is not blocked", e.index, name))
	case p.strict:
		p.warnings = append(p.warnings, fmt.Sprintf(
			"linux.seccomp.syscalls[%d].names: unknown system call %q: it is ignored", e.index, name))
	}
}
