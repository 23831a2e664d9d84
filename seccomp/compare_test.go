package seccomp

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// compare_test.go: two opinions on one profile, asked about every call.

// opinion returns a filter's verdict.
type opinion func(d *bpfvm.Data) uint32

// running is the opinion of a program.
func running(code []Instruction, big bool) opinion {
	return func(d *bpfvm.Data) uint32 {
		action, _ := bpfvm.Run(code, d, big)
		return action
	}
}

// reading is the opinion of the second oracle.
func reading(o *oracle) opinion {
	return func(d *bpfvm.Data) uint32 { return o.evaluate(d.Arch, d.Number, d.Args) }
}

// archsOf returns the architectures of a profile's filter.
func archsOf(s *specs.LinuxSeccomp, goarch string) []int {
	host := hostABIs(goarch)
	out := host[:1:1]
	for _, i := range host[1:] {
		if abis[i].slots != nil && slices.Contains(s.Architectures, specs.Arch(abis[i].name)) {
			out = append(out, i)
		}
	}
	return out
}

// probe asks two opinions about every number of every architecture of the host
// (and one that it does not have), with the arguments that matter to the
// profile, and returns where they first differ; "" if they never do.
func probe(s *specs.LinuxSeccomp, goarch string, a, b opinion) string {
	probed := 0
	boundary := boundaries(s)
	conditional := conditionalNumbers(s, goarch)
	for _, i := range append(hostABIs(goarch), -1) {
		audit := uint32(unix.AUDIT_ARCH_SPARC64)
		numbers := []uint32{0, 1, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xbfffffff, 0xc0000000, 0xfffffffe, 0xffffffff}
		if i >= 0 {
			audit = abis[i].audit
			for slot := range uint32(maxSlots) {
				numbers = append(numbers, abis[i].base+slot)
			}
			for n := uint32(armPrivateBase - 2); n < armPrivateBase+10; n++ {
				numbers = append(numbers, n)
			}
		}
		for _, n := range numbers {
			vectors := boundary
			if !conditional[n] {
				vectors = vectors[:2]
			}
			for _, args := range vectors {
				d := &bpfvm.Data{Number: n, Arch: audit, Pointer: 0x1122334455667788, Args: args}
				if x, y := a(d), b(d); x != y {
					return fmt.Sprintf("%s, architecture %#x, number %d (%#x), arguments %#x: %#x and %#x",
						goarch, audit, n, n, args, x, y)
				}
				probed++
			}
		}
	}
	if probed < maxSlots {
		return "too little was asked"
	}
	return ""
}

// conditionalNumbers returns the numbers, on any architecture, of the calls
// for which the profile has rules with arguments, or that multiplex.
func conditionalNumbers(s *specs.LinuxSeccomp, goarch string) map[uint32]bool {
	out := map[uint32]bool{}
	for _, calls := range newOracle(s, hostABIs(goarch)[:usable(goarch)]).calls {
		for number, rules := range calls {
			for _, r := range rules {
				if len(r.args) > 0 {
					out[number] = true
				}
			}
		}
	}
	return out
}

// usable is how many of a host's architectures have a table.
func usable(goarch string) int {
	n := 0
	for _, i := range hostABIs(goarch) {
		if abis[i].slots != nil {
			n++
		}
	}
	return n
}

// boundaries returns argument vectors around every value of the profile's
// conditions: each alone, and all combinations of a few for up to two arguments.
func boundaries(s *specs.LinuxSeccomp) [][6]uint64 {
	values := [6][]uint64{}
	for i := range values {
		values[i] = []uint64{0, ^uint64(0)}
	}
	for _, c := range s.Syscalls {
		for _, x := range c.Args {
			v := x.Value
			add := []uint64{v, v - 1, v + 1, v ^ 1<<32, v + 1<<32, v &^ (1<<32 - 1), v | 0xffffffff, v >> 32}
			if x.Op == specs.OpMaskedEqual {
				v = x.ValueTwo & x.Value
				add = append(add, v, v|^x.Value, v^(x.Value&-x.Value), x.ValueTwo)
			}
			for _, n := range add {
				if !slices.Contains(values[x.Index], n) {
					values[x.Index] = append(values[x.Index], n)
				}
			}
		}
	}
	for sub := range uint64(26) { // of socketcall and ipc
		if !slices.Contains(values[0], sub) {
			values[0] = append(values[0], sub)
		}
	}
	vectors := [][6]uint64{{}, {^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}}
	for i := range values {
		for _, v := range values[i] {
			var args [6]uint64
			args[i] = v
			vectors = append(vectors, args)
			for j := i + 1; j < 6; j++ {
				for k, w := range values[j] {
					if len(values[i])*len(values[j]) > 1000 && k%7 != 0 {
						continue
					}
					args[j] = w
					vectors = append(vectors, args)
				}
				args[j] = 0
			}
		}
	}
	return vectors
}

// mustCompile returns the program, which the kernel would take.
func mustCompile(t testing.TB, s *specs.LinuxSeccomp, goarch string) *Program {
	t.Helper()
	var d defect.List
	p, _ := compile(s, Env{Arch: goarch}, &d, compileGo)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	if err := bpfvm.Check(p.Filter); err != nil {
		t.Fatal(err)
	}
	return p
}
