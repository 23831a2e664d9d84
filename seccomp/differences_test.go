package seccomp

import (
	"os"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// difference is a place where gourd's verdict differs from libseccomp's (2.5.4,
// as runc uses it) on purpose.
type difference struct {
	name, why string
	goarch    string
	rules     []specs.LinuxSyscall // with default action ERRNO
	archs     []specs.Arch
	call      bpfvm.Data
	ours      uint32
	theirs    uint32
	refused   string // libseccomp's error, instead of a verdict
	runc      bool   // it is the tail that runc puts before libseccomp's program, which is not in a build of gourd
}

func allow(name string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: args}
}

func trap(name string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: specs.ActTrap, Args: args}
}

func arg(index uint, op specs.LinuxSeccompOperator, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Op: op, Value: value}
}

func masked(index uint, mask, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Op: specs.OpMaskedEqual, Value: mask, ValueTwo: value}
}

const (
	allowed = unix.SECCOMP_RET_ALLOW
	trapped = unix.SECCOMP_RET_TRAP
	denied  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
)

func onX8664(number uint32, args ...uint64) bpfvm.Data {
	d := bpfvm.Data{Number: number, Arch: unix.AUDIT_ARCH_X86_64}
	copy(d.Args[:], args)
	return d
}

// differences are all that are known. Call 0 of x86-64 is read.
var differences = []difference{
	{
		name: "ranges of one 64-bit argument", goarch: "amd64",
		why:   "libseccomp merges the comparisons of the high halves and loses a rule",
		rules: []specs.LinuxSyscall{allow("read", arg(0, specs.OpLessThan, 16)), allow("read", arg(0, specs.OpLessThan, 1<<32))},
		call:  onX8664(0, 40), ours: allowed, theirs: denied,
	},
	{
		name: "unequal, with two actions", goarch: "amd64",
		why: "for a value whose high half differs libseccomp takes the rule with the smaller value, for others " +
			"the one with the larger; gourd always the latter",
		rules: []specs.LinuxSyscall{trap("read", arg(0, specs.OpNotEqual, 2)), allow("read", arg(0, specs.OpNotEqual, 3))},
		call:  onX8664(0, 1<<32), ours: allowed, theirs: trapped,
	},
	{
		name: "several arguments", goarch: "amd64",
		why: "where a rule fails in the middle libseccomp can go on at the wrong place, or with the wrong " +
			"argument loaded: this allows what no rule does",
		rules: []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpNotEqual, 2), arg(1, specs.OpLessThan, 16)), allow("read", arg(0, specs.OpNotEqual, 0)),
		},
		call: onX8664(0, 0, 17), ours: denied, theirs: allowed,
	},
	{
		name: "sub-calls with several arguments", goarch: "386",
		why: "the same: argument 1 of ipc's sub-call 24 is compared with the number of sub-call 1",
		rules: []specs.LinuxSyscall{
			allow("read"), allow("socket"), allow("semop"), allow("accept"), trap("shmctl", arg(1, specs.OpEqualTo, 0)),
		},
		call: bpfvm.Data{Number: 117, Arch: unix.AUDIT_ARCH_I386, Args: [6]uint64{24, 1}}, ours: denied, theirs: allowed,
	},
	{
		name: "masked against equal on a 64-bit argument", goarch: "amd64",
		why: "libseccomp compares only the high halves of the values where the masks differ, so that the " +
			"profile's order decides; gourd compares the values",
		rules: []specs.LinuxSyscall{allow("read", masked(0, 1, 0)), trap("read", arg(0, specs.OpEqualTo, 2))},
		call:  onX8664(0, 2), ours: trapped, theirs: allowed,
	},
	{
		name: "a comparison and its opposite", goarch: "386",
		why: "libseccomp makes one node of them and so tries GE where the LT stood, before other LTs; gourd " +
			"tries every LT first",
		rules: []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpLessThan, 0)), allow("read", arg(0, specs.OpGreaterEqual, 0)), trap("read", arg(0, specs.OpLessThan, 1)),
		},
		call: bpfvm.Data{Number: 3, Arch: unix.AUDIT_ARCH_I386}, ours: trapped, theirs: allowed,
	},
	{
		name: "a conflict that a rule without conditions decides", goarch: "amd64",
		why: "libseccomp adds one rule after the other and refuses on the way; the profile as a whole is clear",
		rules: []specs.LinuxSyscall{
			trap("read", arg(0, specs.OpEqualTo, 1)), allow("read", arg(0, specs.OpEqualTo, 1)), allow("read"),
		},
		call: onX8664(0, 1), ours: allowed, refused: "file exists",
	},
	{
		name: "a conflict about a call that the machine lacks", goarch: "arm64",
		why: "libseccomp keeps rules for such calls under made-up numbers",
		rules: []specs.LinuxSyscall{
			trap("set_tls", arg(0, specs.OpEqualTo, 1)), allow("set_tls", arg(0, specs.OpEqualTo, 1)), allow("read"),
		},
		call: bpfvm.Data{Number: 63, Arch: unix.AUDIT_ARCH_AARCH64}, ours: allowed, refused: "file exists",
	},
	{
		name: "an architecture of other machines", goarch: "amd64",
		why:   "no kernel of this machine reports it: gourd leaves its part out, which is thus killed",
		rules: []specs.LinuxSyscall{allow("read")}, archs: []specs.Arch{specs.ArchARM},
		call: bpfvm.Data{Number: 3, Arch: unix.AUDIT_ARCH_ARM}, ours: badArch, theirs: allowed,
	},
	{
		name: "new calls of 32-bit ARM", runc: true, goarch: "arm",
		why: "runc takes ARM's private calls (0xf0001 and on) for the newest, so that ENOSYS is answered to " +
			"nothing once a profile names one of them",
		rules: []specs.LinuxSyscall{allow("read"), allow("set_tls")},
		call:  bpfvm.Data{Number: 999, Arch: unix.AUDIT_ARCH_ARM}, ours: enosys, theirs: denied,
	},
	{
		name: "socket as the newest call of a profile", runc: true, goarch: "386",
		why: "runc does not see the number of a call that libseccomp multiplexes, and answers ENOSYS to what " +
			"the profile allows",
		rules: []specs.LinuxSyscall{allow("read"), allow("socket")},
		call:  bpfvm.Data{Number: 359, Arch: unix.AUDIT_ARCH_I386}, ours: allowed, theirs: enosys,
	},
	{
		name: "numbers above x32", runc: true, goarch: "amd64",
		why: "runc answers ENOSYS to numbers with bit 31 and without bit 30, libseccomp itself kills; gourd " +
			"kills",
		rules: []specs.LinuxSyscall{allow("read")},
		call:  onX8664(0x80000000), ours: badArch, theirs: enosys,
	},
}

func (x *difference) profile() *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: x.rules, Architectures: x.archs}
}

// TestDifferences checks gourd's side; TestLibseccompDiffers the other.
func TestDifferences(t *testing.T) {
	for _, x := range differences {
		t.Run(x.name, func(t *testing.T) {
			s := x.profile()
			var d defect.List
			p, _ := compile(s, Env{Arch: x.goarch}, &d, compileGo)
			if err := d.Err(); err != nil {
				t.Fatal(err)
			}
			if got, _ := bpfvm.Run(p.Filter, &x.call, false); got != x.ours {
				t.Errorf("%#x, and the table says %#x", got, x.ours)
			}
			o := newOracle(s, archsOf(s, x.goarch))
			if got := o.evaluate(x.call.Arch, x.call.Number, x.call.Args); got != x.ours {
				t.Errorf("the second oracle says %#x, and the table %#x", got, x.ours)
			}
		})
	}
}

// TestDifferencesAreListed holds README.md to the table.
func TestDifferencesAreListed(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range differences {
		row := "\n| " + x.name
		if x.runc {
			row += " (runc)"
		}
		if !strings.Contains(string(text), row+" |") {
			t.Errorf("README.md does not list %q", x.name)
		}
	}
}
