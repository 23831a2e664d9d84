package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gourd-oci/gourd/internal/defect"
)

// verdicts is what a profile says about the calls of one architecture.
type verdicts struct {
	abi *abi
	// plain holds for each slot 1 plus the place in entries of the rule
	// without conditions that decides it; 0 if there is none.
	plain [maxSlots]int32
	// rules are the rules with conditions, in the profile's order.
	rules []rule
	// last is the highest slot that the profile names, -1 if none; arm's
	// private calls do not count.
	last int
}

// rule is a rule with conditions for the call in a slot.
type rule struct {
	slot  int
	entry int // place in entries
	conds []condition
}

// gather sorts the profile's rules by architecture and call. It adds the
// warnings about unknown names.
func (p *profile) gather() []*verdicts {
	vs := make([]*verdicts, len(p.abis))
	for i, a := range p.abis {
		vs[i] = &verdicts{abi: a, last: -1}
	}
	for n := range p.entries {
		e := &p.entries[n]
		hint := 0
		for _, name := range e.names {
			i, known := nameIndex(name, hint)
			if !known {
				p.unknown(e, name)
				continue
			}
			hint = i + 1
			for _, v := range vs {
				v.name(e, n, i, e.action == p.action)
			}
		}
	}
	return vs
}

// name notes that entry n names call i of the tables; silent if its action is
// the default, so that it makes no rule.
func (v *verdicts) name(e *entry, n, i int, silent bool) {
	if slot := int(v.abi.slots[i]) - 1; slot >= 0 {
		if slot < armPrivate {
			v.last = max(v.last, slot)
		}
		if !silent {
			v.add(e, n, slot, -1)
		}
	}
	sub := int(subcall[i])
	if v.abi.mux == 0 || sub == 0 {
		return
	}
	slot := int(v.abi.mux)
	if sub > subcallIPC {
		slot, sub = slot+ipcAfter, sub-subcallIPC
	}
	v.last = max(v.last, slot)
	if !silent {
		v.add(e, n, slot, sub)
	}
}

// add adds the rules of entry n for the call in a slot; sub is the number of
// the sub-call when the call multiplexes, else -1.
func (v *verdicts) add(e *entry, n, slot, sub int) {
	for _, alt := range e.alternatives {
		if v.plain[slot] != 0 {
			return // decided
		}
		conds := v.fit(alt, sub)
		if len(conds) > 0 {
			v.rules = append(v.rules, rule{slot, n, conds})
		} else {
			v.plain[slot] = int32(n) + 1
		}
	}
}

// fit returns the conditions as they are on this architecture: cut to its
// width, without those that always hold, and with the sub-call as argument 0.
func (v *verdicts) fit(conds []condition, sub int) []condition {
	always := func(c condition) bool { return c.mask == 0 }
	if sub < 0 && (len(conds) == 0 || v.abi.wide && !slices.ContainsFunc(conds, always)) {
		return conds
	}
	all := ^uint64(0)
	if !v.abi.wide {
		all = 0xffffffff
	}
	fitted := make([]condition, 0, len(conds)+1)
	if sub >= 0 {
		fitted = append(fitted, condition{arg: 0, op: eq, value: uint64(sub), mask: all})
	}
	for _, c := range conds {
		c.value &= all
		c.mask &= all
		if c.mask != 0 && (sub < 0 || c.arg != 0) {
			fitted = append(fitted, c)
		}
	}
	return fitted
}

// compareConditions orders conditions as rule 5 of the package comment says; 0
// also for some that differ, which are then tried in the profile's order.
func compareConditions(a, b condition) int {
	if a.arg != b.arg {
		return cmp.Compare(b.arg, a.arg)
	}
	if ca, cb := opClass(a.op), opClass(b.op); ca != cb {
		return cmp.Compare(ca, cb)
	}
	if opClass(a.op) == 1 {
		return cmp.Compare(a.value, b.value)
	}
	return cmp.Compare(b.value, a.value)
}

func opClass(op operator) int {
	switch op {
	case lt, le:
		return 1
	case gt, ge:
		return 2
	}
	return 0
}

// decisions returns the rules with conditions that remain, ordered by slot and
// then in the order in which they are tried. It adds the conflicts to d.
func (v *verdicts) decisions(p *profile, told *[]pair, d *defect.List) []rule {
	rs := slices.DeleteFunc(v.rules, func(r rule) bool { return v.plain[r.slot] != 0 })
	slices.SortStableFunc(rs, func(a, b rule) int {
		if a.slot != b.slot {
			return cmp.Compare(a.slot, b.slot)
		}
		return slices.CompareFunc(a.conds, b.conds, compareConditions)
	})
	keep := rs[:0]
	for i := 0; i < len(rs); {
		n := i + 1
		for n < len(rs) && rs[n].slot == rs[i].slot {
			n++
		}
		if n-i > MaxInstructions {
			d.Add("linux.seccomp.syscalls", "%d rules for one system call: more than a filter can hold", n-i)
			return nil
		}
		start := len(keep)
		for _, r := range rs[i:n] {
			if !v.covered(p, keep[start:], r, told, d) {
				keep = append(keep, r)
			}
		}
		i = n
	}
	return keep
}

// pair names two entries that a conflict has been told about.
type pair struct{ a, b int }

// covered tells whether r can never decide, because a rule that is tried before
// it has only conditions that r has too. It reports their conflict, if any.
func (v *verdicts) covered(p *profile, before []rule, r rule, told *[]pair, d *defect.List) bool {
	for _, b := range before {
		if !subset(b.conds, r.conds) {
			continue
		}
		eb, er := &p.entries[b.entry], &p.entries[r.entry]
		if eb.action == er.action || slices.Contains(*told, pair{b.entry, r.entry}) {
			return true
		}
		*told = append(*told, pair{b.entry, r.entry})
		switch {
		case len(b.conds) == len(r.conds):
			d.Add(fmt.Sprintf("linux.seccomp.syscalls[%d].args", max(eb.index, er.index)),
				"the same conditions as in syscalls[%d], with another action", min(eb.index, er.index))
		case b.entry > r.entry && slices.Equal(b.conds, r.conds[:len(b.conds)]):
			d.Add(fmt.Sprintf("linux.seccomp.syscalls[%d].args", eb.index),
				"covers syscalls[%d], which has another action", er.index)
		default:
			p.warnings = append(p.warnings, fmt.Sprintf(
				"linux.seccomp.syscalls[%d].args: no effect, syscalls[%d] covers it", er.index, eb.index))
		}
		return true
	}
	return false
}

// subset tells whether all conditions of a are among b's.
func subset(a, b []condition) bool {
	for _, c := range a {
		if !slices.Contains(b, c) {
			return false
		}
	}
	return true
}
