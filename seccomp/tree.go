package seccomp

// tree.go: the search for a call's number.

// tree is the search in one line of numbers.
type tree struct {
	spans  spans
	before []uint32 // the weight of the spans before each, and of all
}

// Weights of a span: how much it matters that it is found soon. The kernel
// caches ALLOW for calls whose arguments do not matter; the filter runs for all
// others, above all for those that are allowed by their arguments.
const (
	weightCached = 2
	weightFixed  = 3
	weightAsks   = 8
)

func newTree(s spans, g *graph) *tree {
	t := &tree{spans: s, before: make([]uint32, len(s)+1)}
	for i, sp := range s {
		w := uint32(weightFixed)
		switch {
		case sp.to >= 0:
			w = weightAsks
		case permits(g.actions[^sp.to]):
			w = weightCached
		}
		t.before[i+1] = t.before[i] + w
	}
	return t
}

// chain is how many numbers are compared one after the other, where that is
// cheaper than to search.
const chain = 3

// tree writes the search among spans i to j-1 and returns its label.
func (a *assembler) tree(t *tree, i, j int) label {
	if j-i == 1 {
		return a.enter(t.spans[i].to, -1)
	}
	if other, ok := t.singles(i, j); ok {
		no := a.enter(other, -1)
		for k := j - 1; k >= i; k-- {
			if to := t.spans[k].to; to != other {
				no = a.branch(opIfIs, t.spans[k].lo, a.enter(to, -1), no)
			}
		}
		return no
	}
	m := t.middle(i, j)
	yes := a.tree(t, m, j)
	no := a.tree(t, i, m)
	return a.branch(opIfGE, t.spans[m].lo, yes, no)
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
