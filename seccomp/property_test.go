package seccomp

import (
	"slices"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"
)

// property_test.go: profiles that nobody would write, against the second oracle.

// Names of every kind: plain ones, multiplexed ones, some that not every
// architecture has or numbers alike, the last ones, and one that is none.
var someNames = []string{
	"read", "write", "open", "close", "clone", "personality", "ioctl", "execve", "restart_syscall",
	"socket", "socketcall", "ipc", "accept", "accept4", "send", "semop", "shmctl", "msgget",
	"set_tls", "breakpoint", "uselib", "arch_prctl", "time", "clone3", "futex_waitv", "pwritev2",
	"not_a_call",
}

var someValues = []uint64{
	0, 1, 2, 3, 8, 9, 16, 40, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	0x100000000, 0x100000001, 0x1ffffffff, 0x7e020000, 0xffffffff00000000, ^uint64(0),
}

var allActions = []specs.LinuxSeccompAction{
	specs.ActKill, specs.ActKillThread, specs.ActKillProcess, specs.ActTrap, specs.ActErrno,
	specs.ActTrace, specs.ActAllow, specs.ActLog, specs.ActNotify,
}

var allOps = []specs.LinuxSeccompOperator{
	specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
	specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual,
}

// drawAction draws an action with an errno where it takes one.
func drawAction(t *rapid.T, label string) (specs.LinuxSeccompAction, *uint) {
	a := rapid.SampledFrom(allActions).Draw(t, label)
	if (a == specs.ActErrno || a == specs.ActTrace) && rapid.Bool().Draw(t, "errno given") {
		n := rapid.SampledFrom([]uint{0, 1, 38, 4094}).Draw(t, "errno")
		return a, &n
	}
	return a, nil
}

// drawProfile draws a valid profile with up to rules entries, for a machine.
func drawProfile(t *rapid.T, goarch string, rules int) *specs.LinuxSeccomp {
	s := &specs.LinuxSeccomp{ListenerPath: "/run/agent"}
	s.DefaultAction, s.DefaultErrnoRet = drawAction(t, "default")
	for _, i := range hostABIs(goarch) {
		if abis[i].slots != nil && rapid.Bool().Draw(t, abis[i].name) {
			s.Architectures = append(s.Architectures, specs.Arch(abis[i].name))
		}
	}
	for range rapid.IntRange(0, rules).Draw(t, "entries") {
		var c specs.LinuxSyscall
		c.Names = rapid.SliceOfN(rapid.SampledFrom(someNames), 1, 3).Draw(t, "names")
		c.Action, c.ErrnoRet = drawAction(t, "action")
		for range rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 3}).Draw(t, "args") {
			c.Args = append(c.Args, specs.LinuxSeccompArg{
				Index:    rapid.SampledFrom([]uint{0, 0, 1, 2, 5}).Draw(t, "index"),
				Op:       rapid.SampledFrom(allOps).Draw(t, "op"),
				Value:    rapid.SampledFrom(someValues).Draw(t, "value"),
				ValueTwo: rapid.SampledFrom(someValues).Draw(t, "valueTwo"),
			})
		}
		s.Syscalls = append(s.Syscalls, c)
	}
	return s
}

// conflicting tells whether two rules for one call cannot stand together; if
// moot, also where a rule without conditions makes up for it.
func (o *oracle) conflicting(moot bool) bool {
	for _, calls := range o.calls {
		for _, rules := range calls {
			if !moot && slices.ContainsFunc(rules, func(m *matched) bool { return len(m.args) == 0 }) {
				continue
			}
			for i, m := range rules {
				for _, later := range rules[i+1:] {
					if n := len(later.args); later.action != m.action && n > 0 && n <= len(m.args) && slices.Equal(later.args, m.args[:n]) {
						return true
					}
				}
			}
		}
	}
	return false
}

// drawCrowded draws a profile with many rules for one call, most about one
// argument.
func drawCrowded(t *rapid.T, goarch string) *specs.LinuxSeccomp {
	s := drawProfile(t, goarch, 0)
	for range rapid.IntRange(3, 12).Draw(t, "rules") {
		c := specs.LinuxSyscall{Names: []string{"read"}}
		c.Action, c.ErrnoRet = drawAction(t, "action")
		for range rapid.SampledFrom([]int{1, 1, 1, 1, 1, 2}).Draw(t, "args") {
			c.Args = append(c.Args, specs.LinuxSeccompArg{
				Index:    rapid.SampledFrom([]uint{0, 0, 0, 0, 1}).Draw(t, "index"),
				Op:       rapid.SampledFrom(allOps).Draw(t, "op"),
				Value:    rapid.SampledFrom(someValues).Draw(t, "value"),
				ValueTwo: rapid.SampledFrom(someValues).Draw(t, "valueTwo"),
			})
		}
		s.Syscalls = append(s.Syscalls, c)
	}
	return s
}

func TestPropertyProgramMeansTheProfile(t *testing.T) {
	propertyMeans(t, func(t *rapid.T, goarch string) *specs.LinuxSeccomp { return drawProfile(t, goarch, 8) })
}

func TestPropertyCrowdedProfile(t *testing.T) { propertyMeans(t, drawCrowded) }

// propertyMeans checks that what is drawn compiles to what it means.
func propertyMeans(t *testing.T, draw func(t *rapid.T, goarch string) *specs.LinuxSeccomp) {
	compiled := 0
	rapid.Check(t, func(t *rapid.T) {
		goarch := rapid.SampledFrom(goarchs).Draw(t, "machine")
		s := draw(t, goarch)
		var d defect.List
		p, _ := compile(s, Env{Arch: goarch}, &d, compileGo)
		o := newOracle(s, archsOf(s, goarch))
		if err := d.Err(); err != nil {
			if !o.conflicting(false) {
				t.Fatal(err)
			}
			return
		}
		compiled++
		if err := bpfvm.Check(p.Filter); err != nil {
			t.Fatal(err)
		}
		if n := bpfvm.Unreached(p.Filter); n != 0 {
			t.Fatalf("%d instructions are never reached", n)
		}
		if diff := probe(s, goarch, running(p.Filter, abis[hostABIs(goarch)[0]].big), reading(o)); diff != "" {
			t.Fatal("the program and the profile: " + diff)
		}
	})
	if compiled == 0 {
		t.Error("no profile compiled")
	}
}
