package seccomp

// decide.go: the rules of one system call as a graph of questions about the
// 32-bit words of its arguments. Words are all that classic BPF compares.

// ref is where a question leads: another question (its place in nodes), or,
// negative, an action (^ its place in actions).
type ref int32

// question is a comparison that the kernel's BPF knows.
type question struct {
	op   questionOp
	word uint8 // argument times 2, plus 1 for its high half; or wordNumber
	k    uint32
	mask uint32 // maskedIs only
}

// wordNumber is the word that holds the call's number.
const wordNumber = 12

type questionOp uint8

const (
	is       questionOp = iota // word == k
	above                      // word > k
	atLeast                    // word >= k
	anyBit                     // word & k != 0
	maskedIs                   // word & mask == k
)

// node is a question and where its answers lead.
type node struct {
	question
	yes, no ref
}

// graph holds the questions of all calls: equal parts exist once.
type graph struct {
	nodes   []node
	place   map[node]ref
	actions []uint32
}

// action returns the ref of an action.
func (g *graph) action(a uint32) ref {
	for i, b := range g.actions {
		if a == b {
			return ^ref(i)
		}
	}
	g.actions = append(g.actions, a)
	return ^ref(len(g.actions) - 1)
}

// ask returns the ref of a question, which is no question if both answers lead
// to the same place.
func (g *graph) ask(q question, yes, no ref) ref {
	if yes == no {
		return yes
	}
	n := node{q, yes, no}
	if q.word == wordNumber {
		g.nodes = append(g.nodes, n) // of these no two are the same
		return ref(len(g.nodes) - 1)
	}
	if r, ok := g.place[n]; ok {
		return r
	}
	if g.place == nil {
		g.place = make(map[node]ref)
	}
	r := ref(len(g.nodes))
	g.nodes = append(g.nodes, n)
	g.place[n] = r
	return r
}

// maxFacts is how many answers are remembered besides the words' bounds.
const maxFacts = 4

// known is what the questions asked so far tell. The zero value is nothing.
type known struct {
	bounds [12]bounds     // of each word
	facts  [maxFacts]fact // the newest first
}

// bounds are the least and the greatest that a word can be, the latter with
// its bits inverted, so that the zero value excludes nothing.
type bounds struct{ lo, hi uint32 }

type fact struct {
	question
	answer bool
	used   bool
}

// answer returns 1 or 0 if k tells the answer to q, else -1.
func (k *known) answer(q question) int {
	lo, hi := k.bounds[q.word].lo, ^k.bounds[q.word].hi
	switch q.op {
	case is:
		if q.k < lo || q.k > hi {
			return 0
		}
		if lo == hi {
			return 1
		}
	case above:
		if lo > q.k {
			return 1
		}
		if hi <= q.k {
			return 0
		}
	case atLeast:
		if lo >= q.k {
			return 1
		}
		if hi < q.k {
			return 0
		}
	case anyBit:
		if lo == hi {
			return truth(lo&q.k != 0)
		}
	case maskedIs:
		if lo == hi {
			return truth(lo&q.mask == q.k)
		}
	}
	for i := range k.facts {
		if k.facts[i].used && k.facts[i].question == q {
			return truth(k.facts[i].answer)
		}
	}
	return -1
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// learn returns k with the answer to q, which k did not tell.
func (k known) learn(q question, answer bool) known {
	b := &k.bounds[q.word]
	switch q.op {
	case above:
		if answer {
			b.lo = q.k + 1
		} else {
			b.hi = ^q.k
		}
		return k
	case atLeast:
		if answer {
			b.lo = q.k
		} else {
			b.hi = ^(q.k - 1)
		}
		return k
	case is:
		switch {
		case answer:
			b.lo, b.hi = q.k, ^q.k
			return k
		case q.k == b.lo:
			b.lo++
			return k
		case q.k == ^b.hi:
			b.hi++ // the inverse of one less
			return k
		}
	}
	copy(k.facts[1:], k.facts[:])
	k.facts[0] = fact{q, answer, true}
	return k
}

// forget returns what k says about the words in the set only.
func (k known) forget(words uint16) known {
	var kept known
	n := 0
	for w := range k.bounds {
		if words&(1<<w) != 0 {
			kept.bounds[w] = k.bounds[w]
		}
	}
	for _, f := range k.facts {
		if f.used && words&(1<<f.word) != 0 {
			kept.facts[n] = f
			n++
		}
	}
	return kept
}

// decider builds the graph of some rules of one call.
type decider struct {
	*graph
	p     *profile
	wide  bool
	rules []rule
	other ref      // where to go if none of them holds
	words []uint16 // for each rule, the words that it and the later ones ask about
	memo  map[moment]ref
	fuel  int // how many more moments may still carry knowledge
}

// moment is a place on the way through the rules, with what is known there.
type moment struct {
	rule, cond, step int
	known
}

// decide returns the ref at which the rules of one call, in the order in which
// they are tried, begin.
func (g *graph) decide(p *profile, wide bool, rules []rule) ref {
	// From the last to the first: rules about one value each, if there are
	// enough of them, are searched, and the others asked one after the other.
	to := g.action(p.action)
	for end := len(rules); end > 0; {
		begin := end
		for begin > 0 && rules[begin-1].sameLine(&rules[end-1]) {
			begin--
		}
		if end-begin >= enoughToSearch {
			to = g.line(p, wide, rules[begin:end], to)
			end = begin
			continue
		}
		begin = end - 1
		for begin > 0 && !startsLine(rules[:begin]) {
			begin--
		}
		to = g.ask1by1(p, wide, rules[begin:end], to)
		end = begin
	}
	return to
}

// ask1by1 returns the ref at which some rules begin; other is where to go if
// none of them holds.
func (g *graph) ask1by1(p *profile, wide bool, rules []rule, other ref) ref {
	c := &decider{graph: g, p: p, wide: wide, rules: rules, other: other, memo: make(map[moment]ref)}
	c.words = make([]uint16, len(rules)+1)
	c.fuel = 64
	for i := len(rules) - 1; i >= 0; i-- {
		c.words[i] = c.words[i+1]
		for _, cond := range rules[i].conds {
			c.words[i] |= 3 << (2 * cond.arg)
		}
		c.fuel += 8 * len(rules[i].conds)
	}
	return c.from(moment{})
}

// from returns the ref of what remains to be asked at m.
func (c *decider) from(m moment) ref {
	if m.rule == len(c.rules) {
		return c.other
	}
	r := &c.rules[m.rule]
	if m.cond == len(r.conds) {
		return c.action(c.p.entries[r.entry].action)
	}
	if m.cond == 0 && m.step == 0 {
		// Knowledge lets questions be left out, but it also multiplies the
		// moments. Without fuel it ends with each rule: then there are at
		// most three questions for each condition.
		if c.fuel <= 0 {
			m.known = known{}
		} else {
			m.known = m.forget(c.words[m.rule])
		}
	}
	if r, ok := c.memo[m]; ok {
		return r
	}
	c.fuel--
	out := c.step(m, r.conds[m.cond])
	c.memo[m] = out
	return out
}

// step asks the question of the condition that is due at m.
func (c *decider) step(m moment, cond condition) ref {
	q, yes, no := cond.question(m.step, c.wide)
	switch m.answer(q) {
	case 1:
		return c.follow(m, m.known, yes)
	case 0:
		return c.follow(m, m.known, no)
	}
	n := c.follow(m, m.learn(q, false), no)
	y := c.follow(m, m.learn(q, true), yes)
	return c.ask(q, y, n)
}

// Where an answer leads within a rule, besides the condition's next steps.
const (
	holds = -1 // the condition does: to the next one
	fails = -2 // to the next rule
)

func (c *decider) follow(m moment, k known, to int) ref {
	switch to {
	case holds:
		return c.from(moment{m.rule, m.cond + 1, 0, k})
	case fails:
		return c.from(moment{m.rule + 1, 0, 0, k})
	}
	return c.from(moment{m.rule, m.cond, to, k})
}

// question returns the question of one step of a condition and where yes and
// no lead: a further step, holds or fails. A step that has nothing to compare
// asks what always holds.
func (c condition) question(step int, wide bool) (q question, yes, no int) {
	low, high := c.arg*2, c.arg*2+1
	v, m := uint32(c.value), uint32(c.mask)
	vh, mh := uint32(c.value>>32), uint32(c.mask>>32)
	yes, no = holds, fails
	if c.op == ne || c.op == lt || c.op == le {
		yes, no = fails, holds
	}
	switch c.op {
	case eq, ne, maskedEQ:
		if wide && step == 0 {
			return maskedQuestion(high, vh, mh, 1, no)
		}
		return maskedQuestion(low, v, m, yes, no)
	}
	switch {
	case wide && step == 0:
		return question{op: above, word: high, k: vh}, yes, 1
	case wide && step == 1:
		return question{op: is, word: high, k: vh}, 2, no
	case c.op == gt || c.op == le:
		return question{op: above, word: low, k: v}, yes, no
	}
	return question{op: atLeast, word: low, k: v}, yes, no
}

// maskedQuestion returns word & mask == value in the form that leaves the word
// in the accumulator if there is one.
func maskedQuestion(word uint8, value, mask uint32, yes, no int) (question, int, int) {
	switch {
	case mask == 0:
		return question{op: atLeast, word: word}, yes, no // always
	case mask == 0xffffffff:
		return question{op: is, word: word, k: value}, yes, no
	case value == 0:
		return question{op: anyBit, word: word, k: mask}, no, yes
	case mask&(mask-1) == 0:
		return question{op: anyBit, word: word, k: mask}, yes, no
	}
	return question{op: maskedIs, word: word, k: value, mask: mask}, yes, no
}
