//go:build libseccomp

package seccomp

import (
	"math/bits"
	"runtime"
	"slices"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
)

// bothWays compiles a profile with gourd's compiler and with libseccomp.
func bothWays(t testing.TB, s *specs.LinuxSeccomp, goarch string) (ours, theirs []Instruction, err error) {
	t.Helper()
	var d defect.List
	p := check(s, Env{Arch: goarch}, &d)
	if d.Err() == nil {
		ours = compileGo(p, &d)
	}
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	theirs, err = compileLibseccomp(p)
	if p.abis[0].big != hostABI().big {
		swap(theirs, p)
	}
	return ours, theirs, err
}

// swap gives libseccomp's program for a machine of the other byte order this
// machine's. The tail before it is ours, and needs none. When libseccomp copies
// a return instruction to have it nearer, it swaps its action once more.
func swap(code []Instruction, p *profile) {
	actions := []uint32{badArch, p.action}
	for _, e := range p.entries {
		actions = append(actions, e.action)
	}
	for i := range code {
		in := &code[i]
		if in.Code <= 0xff {
			continue
		}
		in.Code = bits.ReverseBytes16(in.Code)
		if in.Code != opReturn || !slices.Contains(actions, in.K) {
			in.K = bits.ReverseBytes32(in.K)
		}
	}
}

// hostABI is the architecture of the machine that the test runs on.
func hostABI() *abi { return &abis[hostABIs(runtime.GOARCH)[0]] }

// inLibseccomp tells whether the libseccomp here knows a machine.
func inLibseccomp(goarch string) bool {
	arch, err := libseccomp.GetArchFromString(abis[hostABIs(goarch)[0]].libName())
	if err == nil {
		_, err = libseccomp.GetSyscallFromNameByArch("read", arch)
	}
	return err == nil
}

// strangers returns the names that the libseccomp here does not know on an
// architecture, or knows with another number.
func strangers(t testing.TB, a *abi) map[string]bool {
	arch, err := libseccomp.GetArchFromString(a.libName())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for i := range numNames {
		name := nameAt(i)
		if a.slots[i] == 0 {
			continue
		}
		n, err := libseccomp.GetSyscallFromNameByArch(name, arch)
		if muxed := a.mux != 0 && subcall[i] != 0; muxed && n < 0 {
			continue // libseccomp does not show the direct number
		}
		if err != nil || uint32(n) != a.number(int(a.slots[i])-1) {
			out[name] = true
		}
	}
	return out
}

// understood returns the profile without the names that the libseccomp here is
// too old for on the given architectures, and how many these are.
func understood(t testing.TB, s *specs.LinuxSeccomp, archs []int) (*specs.LinuxSeccomp, int) {
	strange := map[string]bool{}
	for _, i := range archs {
		for name := range strangers(t, &abis[i]) {
			strange[name] = true
		}
	}
	out := *s
	out.Syscalls = nil
	dropped := 0
	for _, c := range s.Syscalls {
		n := len(c.Names)
		c.Names = slices.DeleteFunc(slices.Clone(c.Names), func(name string) bool {
			_, err := libseccomp.GetSyscallFromName(name)
			return err != nil || strange[name]
		})
		dropped += n - len(c.Names)
		if len(c.Names) > 0 {
			out.Syscalls = append(out.Syscalls, c)
		}
	}
	return &out, dropped
}

// TestLibseccompTables holds the tables against libseccomp's: it may lack calls
// that came after it, but what both have must have the same number.
func TestLibseccompTables(t *testing.T) {
	for i := range abis {
		a := &abis[i]
		if a.slots == nil {
			continue
		}
		arch, err := libseccomp.GetArchFromString(a.libName())
		if err == nil {
			_, err = libseccomp.GetSyscallFromNameByArch("read", arch)
		}
		if err != nil {
			t.Logf("%s: not in this libseccomp", a.name)
			continue
		}
		for i := range numNames {
			name := nameAt(i)
			n, err := libseccomp.GetSyscallFromNameByArch(name, arch)
			slot := int(a.slots[i]) - 1
			switch {
			case err != nil || n < 0 && slot < 0:
			case n < 0 && a.mux != 0 && subcall[i] != 0:
				if sub := -int(n) % 100; sub != int(subcall[i])%100 {
					t.Errorf("%s: sub-call %s is %d, libseccomp has %d", a.name, name, subcall[i], sub)
				}
			case n < 0:
				t.Logf("%s: libseccomp lacks %s", a.name, name)
			case slot < 0:
				t.Errorf("%s: libseccomp has %s, %d", a.name, name, n)
			case uint32(n) != a.number(slot):
				t.Errorf("%s: %s is %d, libseccomp has %d", a.name, name, a.number(slot), n)
			}
		}
	}
}

func TestLibseccompAgreesOnEngineProfiles(t *testing.T) {
	for name, s := range engineProfiles(t) {
		for _, goarch := range goarchs {
			if !inLibseccomp(goarch) {
				t.Logf("%s: not in this libseccomp", goarch)
				continue
			}
			s, dropped := understood(t, s, hostABIs(goarch)[:usable(goarch)])
			s.Architectures = nil
			for _, i := range hostABIs(goarch) {
				if abis[i].slots != nil {
					s.Architectures = append(s.Architectures, specs.Arch(abis[i].name))
				}
			}
			ours, theirs, err := bothWays(t, s, goarch)
			if err != nil {
				t.Errorf("%s, %s: %v", name, goarch, err)
				continue
			}
			big := abis[hostABIs(goarch)[0]].big
			if diff := probe(s, goarch, running(ours, big), running(theirs, big)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			t.Logf("%s, %s: %d instructions, libseccomp %d; without %d names", name, goarch, len(ours), len(theirs), dropped)
		}
	}
}

// TestLibseccompBuild checks that a build with the tag compiles with libseccomp.
func TestLibseccompBuild(t *testing.T) {
	s := engineProfiles(t)["docker-20.10"]
	var d defect.List
	p, _ := Compile(s, Env{}, &d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := bothWays(t, s, runtime.GOARCH)
	if err != nil || slices.Equal(p.Filter, ours) || !slices.Equal(p.Filter, theirs) {
		t.Errorf("%d instructions, ours has %d and libseccomp's %d: %v", len(p.Filter), len(ours), len(theirs), err)
	}
}

func init() {
	coldCompilers["libseccomp"] = func(s *specs.LinuxSeccomp) {
		var d defect.List
		if _, err := compileLibseccomp(check(s, Env{Arch: runtime.GOARCH}, &d)); err != nil {
			panic(err)
		}
	}
}

// BenchmarkLibseccomp is BenchmarkCompile for libseccomp.
func BenchmarkLibseccomp(b *testing.B) {
	for name, s := range engineProfiles(b) {
		b.Run(name, func(b *testing.B) {
			var code []Instruction
			for b.Loop() {
				var d defect.List
				var err error
				if code, err = compileLibseccomp(check(s, Env{Arch: "amd64"}, &d)); err != nil {
					b.Fatal(err)
				}
			}
			report(b, s, code)
		})
	}
}
