package seccomp

import (
	"testing"

	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// truthOf answers a question about a word.
func truthOf(q question, word uint32) bool {
	switch q.op {
	case is:
		return word == q.k
	case above:
		return word > q.k
	case atLeast:
		return word >= q.k
	case anyBit:
		return word&q.k != 0
	}
	return word&q.mask == q.k
}

// TestPropertyKnown asks questions about a word in turn: what known tells
// beforehand must be true.
func TestPropertyKnown(t *testing.T) {
	told := 0
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SampledFrom([]uint32{0, 1, 2, 3, 4, 5, 0xfffffffd, 0xfffffffe, 0xffffffff})
		word := values.Draw(t, "word")
		var k known
		for range rapid.IntRange(1, 12).Draw(t, "questions") {
			q := question{op: questionOp(rapid.IntRange(int(is), int(maskedIs)).Draw(t, "op")), word: 3, k: values.Draw(t, "k")}
			if q.op == maskedIs {
				q.mask = values.Draw(t, "mask")
				q.k &= q.mask
			}
			answer := truthOf(q, word)
			switch k.answer(q) {
			case -1:
				k = k.learn(q, answer)
				if q.op != maskedIs && q.op != anyBit && k.answer(q) != truth(answer) {
					t.Fatalf("%+v is forgotten", q)
				}
			case truth(answer):
				told++
			default:
				t.Fatalf("%+v of %d is told to be %v", q, word, !answer)
			}
		}
		if k.forget(1<<3) != k || k.forget(1<<4) != (known{}) {
			t.Fatal("something else is forgotten")
		}
	})
	if told == 0 {
		t.Error("nothing was ever known")
	}
}

// TestBranch checks conditional jumps to places around the farthest that they
// can reach, returns and others.
func TestBranch(t *testing.T) {
	for variant := range 4 {
		load, noFirst := variant&1 != 0, variant&2 != 0
		for n := farthest - 8; n < farthest+8; n++ {
			g := &graph{actions: []uint32{1, 2, 3}}
			a := &assembler{graph: g, returns: make([]label, 4)}
			target := func(action uint32) label {
				l := a.at(g.action(action))
				if load {
					l = a.put(Instruction{Code: opLoad, K: offArch}, l)
				}
				return l
			}
			var yes, no label
			if noFirst {
				no = target(2)
			}
			yes = target(1)
			if !noFirst {
				no = target(2)
			}
			for range n {
				a.code = append(a.code, Instruction{Code: opReturn, K: 3})
			}
			a.put(Instruction{Code: opLoad, K: offNumber}, a.branch(opIfIs, 7, yes, no))
			code := a.finish()
			if err := bpfvm.Check(code); err != nil {
				t.Fatalf("%d between: %v", n, err)
			}
			for number, want := range map[uint32]uint32{7: 1, 8: 2} {
				if got, _ := bpfvm.Run(code, &bpfvm.Data{Number: number, Arch: unix.AUDIT_ARCH_X86_64}, false); got != want {
					t.Errorf("%d between: number %d leads to %d, want %d", n, number, got, want)
				}
			}
		}
	}
}
