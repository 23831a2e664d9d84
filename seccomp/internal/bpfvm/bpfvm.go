// Package bpfvm runs and checks seccomp's classic BPF programs as the kernel
// would: every call in tests, and the one or two that gourd itself depends on.
//
// It knows the instructions that gourd's compiler and libseccomp emit, which
// are fewer than seccomp_check_filter lets through. Nothing here is fast.
package bpfvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Data is struct seccomp_data of linux/seccomp.h.
type Data struct {
	Number  uint32
	Arch    uint32
	Pointer uint64
	Args    [6]uint64
}

// size of struct seccomp_data.
const size = 64

// word returns the 32-bit word at an offset, on a big-endian machine or not.
func (d *Data) word(off uint32, big bool) uint32 {
	switch off {
	case 0:
		return d.Number
	case 4:
		return d.Arch
	}
	v := d.Pointer
	if off >= 16 {
		v = d.Args[(off-16)/8]
	}
	if (off%8 == 4) != big {
		return uint32(v >> 32)
	}
	return uint32(v)
}

// Check returns why the kernel would refuse a program (bpf_check_classic and
// seccomp_check_filter), nil if it would not.
func Check(code []unix.SockFilter) error {
	if len(code) == 0 || len(code) > 4096 {
		return fmt.Errorf("%d instructions", len(code))
	}
	for i, in := range code {
		rest := uint32(len(code) - i - 1)
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if in.K >= size || in.K%4 != 0 {
				return fmt.Errorf("instruction %d loads from %d", i, in.K)
			}
		case unix.BPF_JMP | unix.BPF_JA:
			if in.K >= rest {
				return fmt.Errorf("instruction %d jumps out of the program", i)
			}
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K,
			unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			if uint32(in.Jt) >= rest || uint32(in.Jf) >= rest {
				return fmt.Errorf("instruction %d jumps out of the program", i)
			}
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_RET | unix.BPF_K:
		default:
			return fmt.Errorf("instruction %d has code %#x", i, in.Code)
		}
	}
	if code[len(code)-1].Code != unix.BPF_RET|unix.BPF_K {
		return errors.New("the last instruction does not return")
	}
	return nil
}

// Unreached returns how many instructions no path from the first one leads to.
func Unreached(code []unix.SockFilter) int {
	reached := make([]bool, len(code))
	reached[0] = true
	n := 0
	for i, in := range code {
		if !reached[i] {
			n++
			continue
		}
		switch in.Code & 7 {
		case unix.BPF_RET:
		case unix.BPF_JMP:
			if in.Code == unix.BPF_JMP|unix.BPF_JA {
				reached[i+1+int(in.K)] = true
			} else {
				reached[i+1+int(in.Jt)] = true
				reached[i+1+int(in.Jf)] = true
			}
		default:
			reached[i+1] = true
		}
	}
	return n
}

// Run returns what a program that passed Check returns, and how many
// instructions that took. big is the machine's byte order.
func Run(code []unix.SockFilter, d *Data, big bool) (action uint32, steps int) {
	action, steps, _ = run(code, d, big)
	return action, steps
}

// Constant returns what a program returns for a number and architecture
// whatever the arguments, and whether that is so, as the kernel finds it out
// for its cache (seccomp_is_const_allow): not if an argument is loaded.
func Constant(code []unix.SockFilter, number, arch uint32) (action uint32, constant bool) {
	action, _, loaded := run(code, &Data{Number: number, Arch: arch}, false)
	return action, !loaded
}

func run(code []unix.SockFilter, d *Data, big bool) (action uint32, steps int, loaded bool) {
	var acc uint32
	for pc := 0; ; pc++ {
		in := code[pc]
		steps++
		yes := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			loaded = loaded || in.K >= 8
			acc = d.word(in.K, big)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K, steps, loaded
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = acc == in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			yes = acc > in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = acc >= in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes = acc&in.K != 0
		default:
			panic(fmt.Sprintf("instruction %d has code %#x: not checked", pc, in.Code))
		}
		if yes {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
}
