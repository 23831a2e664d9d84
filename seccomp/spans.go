package seccomp

import "github.com/gourd-oci/gourd/internal/defect"

// span is a run of call numbers with one verdict: from lo to the next span's
// lo, or to the greatest number there is.
type span struct {
	lo uint32
	to ref
}

// spans is the whole line of call numbers of one audit architecture, in order.
type spans []span

// put says that from lo on the verdict is to.
func (s *spans) put(lo uint32, to ref) {
	if n := len(*s); n > 0 {
		switch last := (*s)[n-1]; {
		case last.to == to:
			return
		case last.lo == lo:
			*s = (*s)[:n-1] // nothing is left of it
			s.put(lo, to)
			return
		}
	}
	*s = append(*s, span{lo, to})
}

// putABI says what holds for v's calls, from number from on.
func (s *spans) putABI(from uint32, v *verdicts, g *graph, p *profile, told *[]pair, d *defect.List) {
	def := g.action(p.action)
	newer := def
	if v.last >= 0 && wantsTail(p.action) {
		newer = g.action(enosys)
	}
	to := v.resolve(g, p, told, d)
	s.put(from, def)
	end := v.last + 1
	for slot := range end {
		if slot == 0 && v.abi == &abis[abiS390X] && newer != def {
			// s390x passes a number that the kernel does not know as 0, which
			// has been no call for decades.
			s.put(v.abi.number(slot), newer)
			continue
		}
		s.put(v.abi.number(slot), to[slot])
	}
	s.put(v.abi.number(end), newer)
	if v.abi == &abis[abiARM] {
		// No new call is ever numbered up here, so there is no tail.
		for slot := armPrivate; slot < armPrivateEnd; slot++ {
			s.put(v.abi.number(slot), to[slot])
		}
		s.put(v.abi.number(armPrivateEnd), def)
	}
}

// resolve returns for each slot the action or the question that decides it.
func (v *verdicts) resolve(g *graph, p *profile, told *[]pair, d *defect.List) []ref {
	def := g.action(p.action)
	end := v.last + 1
	if v.abi == &abis[abiARM] {
		end = armPrivateEnd
	}
	to := make([]ref, end)
	for slot, n := range v.plain[:end] {
		to[slot] = def
		if n != 0 {
			to[slot] = g.action(p.entries[n-1].action)
		}
	}
	rs := v.decisions(p, told, d)
	for len(rs) > 0 {
		n := 1
		for n < len(rs) && rs[n].slot == rs[0].slot {
			n++
		}
		to[rs[0].slot] = g.decide(p, v.abi.wide, rs[:n])
		rs = rs[n:]
	}
	return to
}

// lines returns the spans of each audit architecture, the machine's own first.
func (p *profile) lines(vs []*verdicts, g *graph, d *defect.List) (audit []uint32, out []spans) {
	var told []pair
	var x64, x32 *verdicts
	for _, v := range vs {
		switch v.abi {
		case &abis[abiX8664]:
			x64 = v
		case &abis[abiX32]:
			x32 = v
		}
	}
	for _, v := range vs {
		s := make(spans, 0, 256)
		switch v {
		case x32:
			if x64 != nil {
				continue // on x86-64's line
			}
			s.put(0, g.action(badArch))
			s.putABI(x32Bit, x32, g, p, &told, d)
		case x64:
			s.putABI(0, x64, g, p, &told, d)
			if x32 != nil {
				s.putABI(x32Bit, x32, g, p, &told, d)
				break
			}
			s.put(x32Bit, g.action(badArch))
			// -1 is no call but what a tracer writes to skip one.
			s.put(0xffffffff, g.action(p.action))
		default:
			s.putABI(0, v, g, p, &told, d)
		}
		audit, out = append(audit, v.abi.audit), append(out, s)
	}
	return audit, out
}
