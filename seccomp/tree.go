package seccomp

// tree.go: the search for a call's number, or an argument's value.

// tree is the search in one line.
type tree struct {
	spans  spans
	before []uint32 // the weight of the spans before each, and of all
}

// Weights in a line of call numbers: how much it matters that a span is found
// soon. Every number counts, as it is a call that may be made. A span that asks
// for arguments counts for more: its calls are the only ones for which the
// filter always runs, as the kernel caches what is allowed in any case, and what
// is refused is not made often.
const (
	weightSpan = 1
	weightAsks = 32
	mostWidth  = 48 // no matter how wide: most numbers are no calls
)

// numberTree returns the search in a line of call numbers.
func (g *graph) numberTree(s spans) *tree {
	return newTree(s, func(sp span, width uint32) uint32 {
		if sp.to >= 0 {
			return weightAsks
		}
		return weightSpan + min(width, mostWidth)
	})
}

// newTree returns the search in a line whose spans weigh what weight says.
func newTree(s spans, weight func(s span, width uint32) uint32) *tree {
	t := &tree{spans: s, before: make([]uint32, len(s)+1)}
	for i, sp := range s {
		end := ^uint32(0)
		if i+1 < len(s) {
			end = s[i+1].lo
		}
		t.before[i+1] = t.before[i] + weight(sp, end-sp.lo)
	}
	return t
}

// chain is how many numbers are compared one after the other, where that is
// cheaper than to search.
const chain = 3

// search returns the ref of the search among spans i to j-1 of the word's line.
func (g *graph) search(word uint8, t *tree, i, j int) ref {
	if j-i == 1 {
		return t.spans[i].to
	}
	if other, ok := t.singles(i, j); ok {
		no := other
		for k := j - 1; k >= i; k-- {
			if s := t.spans[k]; s.to != other {
				no = g.ask(question{op: is, word: word, k: s.lo}, s.to, no)
			}
		}
		return no
	}
	m := t.middle(i, j)
	no := g.search(word, t, i, m)
	yes := g.search(word, t, m, j)
	return g.ask(question{op: atLeast, word: word, k: t.spans[m].lo}, yes, no)
}

// singles tells whether all spans from i to j-1 but a few single numbers lead
// to one place, and to which.
func (t *tree) singles(i, j int) (ref, bool) {
	if j-i > 2*chain+1 {
		return 0, false
	}
	for _, other := range []ref{t.spans[i].to, t.spans[i+1].to} {
		n := 0
		for k := i; k < j; k++ {
			if t.spans[k].to == other {
				continue
			}
			if n++; n > chain || !t.single(k) {
				n = chain + 1
				break
			}
		}
		if n <= chain {
			return other, true
		}
	}
	return 0, false
}

// single tells whether span k is one number.
func (t *tree) single(k int) bool {
	return k+1 < len(t.spans) && t.spans[k+1].lo-t.spans[k].lo == 1
}

// middle returns where to cut the spans from i to j-1 so that both sides weigh
// about the same.
func (t *tree) middle(i, j int) int {
	m := i + 1
	for m+1 < j && t.before[m+1]-t.before[i] <= t.before[j]-t.before[m] {
		m++
	}
	return m
}
