package seccomp

import "slices"

// values.go: rules that each compare one argument, the same one, as a line of
// its values, which is searched as the line of call numbers is.

// enoughToSearch is how many such rules it takes for a search to be better.
const enoughToSearch = 3

// sameLine tells whether r and s compare one argument, the same, by size.
func (r *rule) sameLine(s *rule) bool {
	return len(r.conds) == 1 && len(s.conds) == 1 && r.conds[0].arg == s.conds[0].arg &&
		r.conds[0].op != maskedEQ && s.conds[0].op != maskedEQ
}

// startsLine tells whether the last of the rules are enough for a line.
func startsLine(rules []rule) bool {
	if len(rules) < enoughToSearch {
		return false
	}
	last := &rules[len(rules)-1]
	for i := range enoughToSearch {
		if !rules[len(rules)-1-i].sameLine(last) {
			return false
		}
	}
	return true
}

// stretch is a run of an argument's values with one verdict: from lo to the
// next one's lo.
type stretch struct {
	lo uint64
	to ref
}

// line returns the ref at which the rules of one line begin; other is where to
// go if none of them holds.
func (g *graph) line(p *profile, wide bool, rules []rule, other ref) ref {
	all := []stretch{{0, other}}
	most := ^uint64(0)
	if !wide {
		most = 0xffffffff
	}
	for i := len(rules) - 1; i >= 0; i-- { // the first rule is painted last: it wins
		c := rules[i].conds[0]
		to := g.action(p.entries[rules[i].entry].action)
		switch v := c.value; {
		case c.op == eq:
			all = paint(all, v, v, to)
		case c.op == le, c.op == ne && v == most:
			all = paint(all, 0, v-uint64(truth(c.op == ne)), to)
		case c.op == ge, c.op == ne && v == 0:
			all = paint(all, v+uint64(truth(c.op == ne)), most, to)
		case c.op == ne:
			all = paint(all, 0, v-1, to)
			all = paint(all, v+1, most, to)
		case c.op == lt && v > 0:
			all = paint(all, 0, v-1, to)
		case c.op == gt && v < most:
			all = paint(all, v+1, most, to)
		}
	}
	if !wide && all[len(all)-1].lo > most {
		all = all[:len(all)-1] // what begins after the last value
	}
	low, high := rules[0].conds[0].arg*2, rules[0].conds[0].arg*2+1
	if !wide {
		return g.searchValues(low, spansOf(all, 0))
	}
	return g.searchValues(high, g.halves(low, all))
}

// paint returns the line in which the values from lo to hi lead to to. It may
// use the room of all.
func paint(all []stretch, lo, hi uint64, to ref) []stretch {
	i := 0
	for i < len(all) && all[i].lo < lo {
		i++
	}
	j := i
	for j < len(all) && all[j].lo <= hi {
		j++
	}
	// Those from i to j-1 begin inside; the last that begins at or before hi
	// goes on after it.
	var buf [2]stretch
	add := append(buf[:0], stretch{lo, to})
	if ends := j == len(all) || all[j].lo != hi+1; ends && hi+1 != 0 {
		add = append(add, stretch{hi + 1, all[j-1].to})
	}
	return slices.Replace(all, i, j, add...)
}

// halves returns the line of the high halves of a line of 64-bit values, in
// which halves with several verdicts lead to a search of the low ones.
func (g *graph) halves(low uint8, all []stretch) spans {
	var line spans
	line.put(0, all[0].to)
	for i := 0; i < len(all); {
		half := uint32(all[i].lo >> 32)
		n := i + 1
		for n < len(all) && uint32(all[n].lo>>32) == half {
			n++
		}
		same := all[i:n]
		before := all[max(i-1, 0)].to
		line.put(half, g.searchValues(low, spansOf(same, before)))
		if half != 0xffffffff {
			line.put(half+1, same[len(same)-1].to)
		}
		i = n
	}
	return line
}

// spansOf returns the low halves of stretches whose high half is the same;
// before is what leads up to the first.
func spansOf(all []stretch, before ref) spans {
	line := make(spans, 0, len(all)+1)
	line.put(0, before)
	for _, s := range all {
		line.put(uint32(s.lo), s.to)
	}
	return line
}

// searchValues returns the ref of the search in a line of an argument's word.
func (g *graph) searchValues(word uint8, line spans) ref {
	t := newTree(line, func(span, uint32) uint32 { return 1 })
	return g.search(word, t, 0, len(line))
}
