package seccomp

import (
	"github.com/gourd-oci/gourd/internal/defect"
	"golang.org/x/sys/unix"
)

// The instructions that are used. Besides the loads of arguments they are those
// that the kernel can evaluate beforehand (seccomp_is_const_allow), so that for
// calls whose verdict is ALLOW whatever the arguments it keeps a bitmap and
// runs no filter at all (kernel 5.11).
const (
	opLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opJump   = unix.BPF_JMP | unix.BPF_JA
	opIfIs   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opIfMore = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opIfGE   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opIfAny  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opReturn = unix.BPF_RET | unix.BPF_K
)

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// badArch is the verdict on a call of an architecture that is not in the
// profile, libseccomp's SCMP_FLTATR_ACT_BADARCH as engines leave it.
const badArch = unix.SECCOMP_RET_KILL_THREAD

// farthest is how many instructions a conditional jump can skip.
const farthest = 255

// compileGo returns the program of a profile.
func compileGo(p *profile, d *defect.List) []Instruction {
	g := &graph{nodes: make([]node, 0, 512)}
	audit, lines := p.lines(p.gather(), g, d)
	roots := make([]ref, len(lines))
	for i, line := range lines {
		roots[i] = g.search(wordNumber, g.numberTree(line), 0, len(line))
	}
	a := &assembler{
		graph: g, big: p.abis[0].big, code: make([]Instruction, 0, 512),
		returns: make([]label, len(g.actions)+1), places: make([]place, len(g.nodes)),
	}
	starts := make([]label, len(lines))
	for i := len(lines) - 1; i >= 0; i-- {
		starts[i] = a.enter(roots[i], nowhere)
	}
	next := a.at(g.action(badArch))
	for i := len(lines) - 1; i >= 0; i-- {
		next = a.branch(opIfIs, audit[i], starts[i], next)
	}
	a.put(Instruction{Code: opLoad, K: offArch}, next)
	if len(a.code) > MaxInstructions {
		d.Add("linux.seccomp.syscalls", "needs %d instructions, and the kernel takes %d", len(a.code), MaxInstructions)
	}
	return a.finish()
}

// label is a place in the program, counted from its end: the code is written
// from the last instruction to the first, so that whatever a jump can lead to
// is there already, and a label stays right when more is put before it.
type label int

// assembler writes the program backwards.
type assembler struct {
	*graph
	big     bool
	code    []Instruction // the last one first
	returns []label       // by action: its newest return, 0 for none
	places  []place       // by node
}

// place is where a node has been written: load is where to enter it with
// anything in the accumulator, test with its word there; 0 is not written.
type place struct{ load, test label }

// put writes an instruction that goes on to next.
func (a *assembler) put(i Instruction, next label) label {
	if next != a.here() {
		a.code = append(a.code, Instruction{Code: opJump, K: uint32(a.distance(next, 0))})
	}
	a.code = append(a.code, i)
	return a.here()
}

// here is the label of the instruction written last.
func (a *assembler) here() label { return label(len(a.code)) }

// distance is how many instructions a jump skips to reach l, if it is written
// after more others.
func (a *assembler) distance(l label, more int) int { return len(a.code) + more - int(l) }

// at returns the label of an action's return, writing it if none is near.
func (a *assembler) at(action ref) label {
	n := ^action
	if l := a.returns[n]; l != 0 && a.distance(l, 0) < farthest {
		return l
	}
	a.code = append(a.code, Instruction{Code: opReturn, K: a.actions[n]})
	a.returns[n] = a.here()
	return a.here()
}

// near returns l, or a place within reach that leads to it. more is how many
// instructions may come before the jump.
func (a *assembler) near(l label, more int) label {
	if a.distance(l, more) <= farthest {
		return l
	}
	if i := a.code[l-1]; i.Code == opReturn {
		return a.at(a.action(i.K)) // a copy costs no more than a jump
	}
	a.code = append(a.code, Instruction{Code: opJump, K: uint32(a.distance(l, 0))})
	return a.here()
}

// branch writes a conditional jump.
func (a *assembler) branch(code uint16, k uint32, yes, no label) label {
	yes = a.near(yes, 1)
	no = a.near(no, 0)
	a.code = append(a.code, Instruction{
		Code: code, K: k, Jt: uint8(a.distance(yes, 0)), Jf: uint8(a.distance(no, 0)),
	})
	return a.here()
}

// nowhere is the word of an accumulator that holds none.
const nowhere = 0xff

// enter returns the label of r; word is what the accumulator holds on the way
// there.
func (a *assembler) enter(r ref, word uint8) label {
	if r < 0 {
		return a.at(r)
	}
	n := &a.nodes[r]
	at := &a.places[r]
	if at.test == 0 {
		at.test = a.question(n)
	}
	if word == n.word {
		return at.test
	}
	if at.load == 0 {
		test := at.test
		if test != a.here() {
			test = a.question(n) // again: a jump would cost as much
		}
		at.load = a.put(Instruction{Code: opLoad, K: a.offset(n.word)}, test)
	}
	return at.load
}

// question writes a node without its load.
func (a *assembler) question(n *node) label {
	held := n.word
	if n.op == maskedIs {
		held = nowhere // AND destroys it
	}
	no := a.enter(n.no, held)
	yes := a.enter(n.yes, held)
	switch n.op {
	case is:
		return a.branch(opIfIs, n.k, yes, no)
	case above:
		return a.branch(opIfMore, n.k, yes, no)
	case atLeast:
		return a.branch(opIfGE, n.k, yes, no)
	case anyBit:
		return a.branch(opIfAny, n.k, yes, no)
	}
	test := a.branch(opIfIs, n.k, yes, no)
	return a.put(Instruction{Code: opAnd, K: n.mask}, test)
}

// offset returns where seccomp_data has a word.
func (a *assembler) offset(word uint8) uint32 {
	if word == wordNumber {
		return offNumber
	}
	high := uint32(word & 1)
	if a.big {
		high ^= 1
	}
	return offArgs + uint32(word/2)*8 + high*4
}

// finish returns the program in its own order.
func (a *assembler) finish() []Instruction {
	out := make([]Instruction, len(a.code))
	for i, in := range a.code {
		out[len(out)-1-i] = in
	}
	return out
}
