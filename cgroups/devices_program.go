package cgroups

import (
	"slices"

	"github.com/cilium/ebpf/asm"
)

// devices_program.go: Devices as an eBPF program of type cgroup_device. The
// kernel calls it on every open and mknod with a struct bpf_cgroup_dev_ctx,
//
//	u32 access_type  // BPF_DEVCG_DEV_* in the lower half, BPF_DEVCG_ACC_* in the upper
//	u32 major
//	u32 minor
//
// and refuses with EPERM where it returns 0 (linux/bpf.h, kernel 4.15).
//
// The program asks for the type once, then for the major numbers, each once for
// a run of rules that share it, the last rule first. A right that is granted is
// taken out of the access that is left to be decided.

// maxInsns is what every kernel takes (BPF_MAXINSNS).
const maxInsns = 4096

// The registers, and what the program keeps in them.
const (
	regVerdict = 0
	regCtx     = 1
	regKind    = 2
	regAccess  = 3 // rights not granted yet
	regMajor   = 4
	regMinor   = 5
)

// The codes of the instructions that are used (RFC 9669, section 4 and 5).
const (
	opLoad32  = 0x61 // dst = *(u32 *)(src + off)
	opMove    = 0xbf // dst = src
	opMoveImm = 0xb7 // dst = imm
	opAndImm  = 0x57 // dst &= imm
	opShrImm  = 0x77 // dst >>= imm
	opJump    = 0x05
	opJumpEq  = 0x15 // if dst == imm
	opJumpNe  = 0x55 // if dst != imm
	opJumpSet = 0x45 // if dst & imm
	opExit    = 0x95
)

// devChar is BPF_DEVCG_DEV_CHAR; the only other type is that of block devices.
const devChar = 2

// assemble returns the program of d.
func assemble(d *Devices) asm.Instructions {
	a := assembler{insns: make(asm.Instructions, 0, 64)}
	a.prologue(d)
	a.allow, a.deny = a.label(), a.label()
	last := &d.Char // whose default the program falls through to
	char, block := d.Char.Rules, d.Block.Rules
	n := shared(&d.Char, &d.Block)
	switch {
	case sameRules(&d.Char, &d.Block):
		a.rules(char)
	case n == len(block): // so are all of block's rules char's as well
		at := a.label()
		a.jump(opJumpNe, regKind, devChar, at)
		a.rules(char[n:])
		a.place(at)
		a.rules(block)
	case n == len(char):
		at := a.label()
		a.jump(opJumpEq, regKind, devChar, at)
		a.rules(block[n:])
		a.place(at)
		a.rules(char)
	case len(block) == 0:
		a.jump(opJumpNe, regKind, devChar, a.verdict(d.Block.Allow))
		a.rules(char)
	case len(char) == 0:
		last = &d.Block
		a.jump(opJumpEq, regKind, devChar, a.verdict(d.Char.Allow))
		a.rules(block)
	default:
		last = &d.Block
		at := a.label()
		a.jump(opJumpNe, regKind, devChar, at)
		a.rules(char)
		a.jump(opJump, 0, 0, a.verdict(d.Char.Allow))
		a.place(at)
		a.rules(block)
	}
	// The default of the last part first, so that it needs no jump.
	a.exit(last.Allow, true)
	a.exit(!last.Allow, false)
	return a.finish()
}

// shared returns how many rules at the beginning, which the program comes to
// last, both lists have in common, or -1 if what follows them differs.
func shared(x, y *DeviceRules) int {
	if x.Allow != y.Allow {
		return -1
	}
	n := 0
	for n < len(x.Rules) && n < len(y.Rules) && x.Rules[n] == y.Rules[n] {
		n++
	}
	return n
}

func sameRules(x, y *DeviceRules) bool {
	return x.Allow == y.Allow && slices.Equal(x.Rules, y.Rules)
}

// assembler collects instructions and the jumps whose targets are not known yet.
type assembler struct {
	insns       asm.Instructions
	places      []int // of each label, -1 while it is not placed
	jumps       []struct{ at, label int }
	allow, deny int // the labels of the ends
}

func (a *assembler) verdict(ok bool) int {
	if ok {
		return a.allow
	}
	return a.deny
}

func (a *assembler) emit(code asm.OpCode, dst, src asm.Register, off int16, imm int32) {
	a.insns = append(a.insns, asm.Instruction{OpCode: code, Dst: dst, Src: src, Offset: off, Constant: int64(imm)})
}

func (a *assembler) label() int {
	a.places = append(a.places, -1)
	return len(a.places) - 1
}

func (a *assembler) place(label int) { a.places[label] = len(a.insns) }

func (a *assembler) jump(code asm.OpCode, dst asm.Register, imm int32, label int) {
	a.jumps = append(a.jumps, struct{ at, label int }{len(a.insns), label})
	a.emit(code, dst, 0, 0, imm)
}

// exit places the end that returns ok, unless nothing leads there: old kernels
// refuse code that cannot be reached.
func (a *assembler) exit(ok, fallsThrough bool) {
	label, reached := a.verdict(ok), fallsThrough
	for _, j := range a.jumps {
		reached = reached || j.label == label
	}
	if !reached {
		return
	}
	a.place(label)
	var v int32
	if ok {
		v = 1
	}
	a.emit(opMoveImm, regVerdict, 0, 0, v)
	a.emit(opExit, 0, 0, 0, 0)
}

func (a *assembler) finish() asm.Instructions {
	for _, j := range a.jumps {
		a.insns[j.at].Offset = int16(a.places[j.label] - j.at - 1)
	}
	return a.insns
}

// prologue loads the parts of the context that the rules look at.
func (a *assembler) prologue(d *Devices) {
	var access, major, minor bool
	for _, rs := range [...][]DeviceRule{d.Char.Rules, d.Block.Rules} {
		for i := range rs {
			access = access || rs[i].Access != all
			major = major || rs[i].Major >= 0
			minor = minor || rs[i].Minor >= 0
		}
	}
	kind := !sameRules(&d.Char, &d.Block)
	if kind {
		a.emit(opLoad32, regKind, regCtx, 0, 0)
	}
	switch {
	case access && kind:
		a.emit(opMove, regAccess, regKind, 0, 0)
	case access:
		a.emit(opLoad32, regAccess, regCtx, 0, 0)
	}
	if access {
		a.emit(opShrImm, regAccess, 0, 0, 16)
	}
	if kind {
		a.emit(opAndImm, regKind, 0, 0, 0xffff)
	}
	if major {
		a.emit(opLoad32, regMajor, regCtx, 4, 0)
	}
	if minor {
		a.emit(opLoad32, regMinor, regCtx, 8, 0)
	}
}

// rules emits the rules, the last one first, and falls through where they do
// not decide.
func (a *assembler) rules(rules []DeviceRule) {
	for i := len(rules) - 1; i >= 0; {
		major := rules[i].Major
		first := i
		for i >= 0 && rules[i].Major == major {
			i--
		}
		run := rules[i+1 : first+1]
		if r := &rules[first]; r.Access == all && r.Minor < 0 { // it decides for the whole run
			a.jump(opJumpEq, regMajor, int32(major), a.verdict(r.Allow))
			continue
		}
		next := -1
		if major >= 0 {
			next = a.label()
			a.jump(opJumpNe, regMajor, int32(major), next)
		}
		for j := len(run) - 1; j >= 0; j-- {
			if a.rule(&run[j]) {
				break
			}
		}
		if next >= 0 {
			a.place(next)
		}
	}
}

// rule emits one rule without its major number, and tells whether nothing gets
// past it.
func (a *assembler) rule(r *DeviceRule) (decided bool) {
	if r.Access == all {
		if r.Minor < 0 {
			a.jump(opJump, 0, 0, a.verdict(r.Allow))
			return true
		}
		a.jump(opJumpEq, regMinor, int32(r.Minor), a.verdict(r.Allow))
		return false
	}
	next := -1
	if r.Minor >= 0 {
		next = a.label()
		a.jump(opJumpNe, regMinor, int32(r.Minor), next)
	}
	if r.Allow {
		a.emit(opAndImm, regAccess, 0, 0, int32(all&^r.Access))
		a.jump(opJumpEq, regAccess, 0, a.allow)
	} else {
		a.jump(opJumpSet, regAccess, int32(r.Access), a.deny)
	}
	if next >= 0 {
		a.place(next)
	}
	return false
}
