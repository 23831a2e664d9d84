package bpfvm

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

const (
	load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	and    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jump   = unix.BPF_JMP | unix.BPF_JA
	ifIs   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ifMore = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	ifGE   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	ifAny  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ret    = unix.BPF_RET | unix.BPF_K
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []unix.SockFilter
		ok   bool
	}{
		{"return", []unix.SockFilter{{Code: ret}}, true},
		{"nothing", nil, false},
		{"too much", make([]unix.SockFilter, 4097), false},
		{"no end", []unix.SockFilter{{Code: load}}, false},
		{"load of half a word", []unix.SockFilter{{Code: load, K: 2}, {Code: ret}}, false},
		{"load of what is not there", []unix.SockFilter{{Code: load, K: 64}, {Code: ret}}, false},
		{"jump out", []unix.SockFilter{{Code: jump, K: 1}, {Code: ret}}, false},
		{"jump back", []unix.SockFilter{{Code: jump, K: 0xffffffff}, {Code: ret}}, false},
		{"branch out if true", []unix.SockFilter{{Code: ifIs, Jt: 1}, {Code: ret}}, false},
		{"branch out if false", []unix.SockFilter{{Code: ifIs, Jf: 1}, {Code: ret}}, false},
		{"unknown", []unix.SockFilter{{Code: unix.BPF_MISC | unix.BPF_TAX}, {Code: ret}}, false},
	} {
		if err := Check(tt.code); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestUnreached(t *testing.T) {
	code := []unix.SockFilter{{Code: ifIs, Jt: 1}, {Code: jump, K: 1}, {Code: ret}, {Code: ret}, {Code: ret}}
	if n := Unreached(code); n != 1 {
		t.Errorf("%d", n)
	}
}

func TestConstant(t *testing.T) {
	code := []unix.SockFilter{{Code: load}, {Code: ifIs, K: 1, Jf: 1}, {Code: load, K: 16}, {Code: ret, K: 5}}
	if a, ok := Constant(code, 0, 0); a != 5 || !ok {
		t.Errorf("%d, %v", a, ok)
	}
	if _, ok := Constant(code, 1, 0); ok {
		t.Error("an argument is loaded")
	}
}

// TestRunAgainstXNet runs random programs here and in golang.org/x/net/bpf,
// whose words are big endian: so it is given them that way.
func TestRunAgainstXNet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]uint32{0, 1, 2, 0x80000000, 0xfffffffe, 0xffffffff})
		n := rapid.IntRange(1, 12).Draw(t, "length")
		code := make([]unix.SockFilter, 0, n+1)
		for i := range n {
			in := unix.SockFilter{Code: rapid.SampledFrom([]uint16{load, and, jump, ifIs, ifMore, ifGE, ifAny, ret}).Draw(t, "code")}
			switch in.Code {
			case load:
				in.K = 4 * uint32(rapid.IntRange(0, 15).Draw(t, "word"))
			case jump:
				in.K = uint32(rapid.IntRange(0, n-i-1).Draw(t, "skip"))
			default:
				in.K = words.Draw(t, "k")
				if in.Code&7 == unix.BPF_JMP {
					in.Jt = uint8(rapid.IntRange(0, n-i-1).Draw(t, "true"))
					in.Jf = uint8(rapid.IntRange(0, n-i-1).Draw(t, "false"))
				}
			}
			code = append(code, in)
		}
		code = append(code, unix.SockFilter{Code: ret, K: 99})
		if err := Check(code); err != nil {
			t.Fatal(err)
		}

		big := rapid.Bool().Draw(t, "big endian")
		long := func() uint64 { return uint64(words.Draw(t, "high"))<<32 | uint64(words.Draw(t, "low")) }
		d := &Data{Number: words.Draw(t, "number"), Arch: words.Draw(t, "arch"), Pointer: long()}
		for i := range d.Args {
			d.Args[i] = long()
		}
		packet := binary.BigEndian.AppendUint32(nil, d.Number)
		packet = binary.BigEndian.AppendUint32(packet, d.Arch)
		for _, v := range append([]uint64{d.Pointer}, d.Args[:]...) {
			if !big {
				v = v<<32 | v>>32
			}
			packet = binary.BigEndian.AppendUint64(packet, v)
		}

		raw := make([]bpf.RawInstruction, len(code))
		for i, in := range code {
			raw[i] = bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}
		}
		program, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatal("cannot be disassembled")
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		want, err := vm.Run(packet)
		if err != nil {
			t.Fatal(err)
		}
		if got, steps := Run(code, d, big); got != uint32(want) || steps < 1 || steps > len(code) {
			t.Errorf("%#x in %d steps, want %#x", got, steps, want)
		}
	})
}
