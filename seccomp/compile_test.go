package seccomp

import (
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

func TestDefects(t *testing.T) {
	read := []string{"read"}
	for _, tt := range []struct {
		name string
		s    specs.LinuxSeccomp
		want []string
	}{
		{"no default action", specs.LinuxSeccomp{}, []string{`linux.seccomp.defaultAction: unknown action ""`}},
		{"unknown default action", specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_NONE"}, []string{`linux.seccomp.defaultAction: unknown action "SCMP_ACT_NONE"`}},
		{"errno for a default action that has none", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, DefaultErrnoRet: ptr(uint(1))},
			[]string{"linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno"}},
		{"errno out of range", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(4096))},
			[]string{"linux.seccomp.defaultErrnoRet: 4096 is above 4095"}},
		{"message out of range", specs.LinuxSeccomp{DefaultAction: specs.ActTrace, DefaultErrnoRet: ptr(uint(65536))},
			[]string{"linux.seccomp.defaultErrnoRet: 65536 is above 65535"}},
		{"unknown architecture", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_X86", "amd64"}},
			[]string{`linux.seccomp.architectures[1]: unknown architecture "amd64"`}},
		{"unknown flag", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_NEW_LISTENER"}},
			[]string{`linux.seccomp.flags[0]: unknown flag "SECCOMP_FILTER_FLAG_NEW_LISTENER"`}},
		{"notify without a listener", specs.LinuxSeccomp{DefaultAction: specs.ActNotify}, []string{"linux.seccomp.listenerPath: missing, and SCMP_ACT_NOTIFY needs it"}},
		{"metadata without a listener", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerMetadata: "x"},
			[]string{"linux.seccomp.listenerMetadata: set without listenerPath"}},
		{"everything wrong with the entries", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: read, Action: specs.ActErrno},
			{Action: specs.ActErrno},
			{Names: []string{"read", ""}, Action: "ERRNO"},
			{Names: read, Action: specs.ActKill, ErrnoRet: ptr(uint(1)), Args: []specs.LinuxSeccompArg{
				{Index: 5, Op: "=="}, {Index: 6, Op: specs.OpEqualTo},
			}},
		}}, []string{
			"linux.seccomp.syscalls[1].names: empty, and needs one name at least",
			`linux.seccomp.syscalls[2].action: unknown action "ERRNO"`,
			"linux.seccomp.syscalls[2].names[1]: empty",
			"linux.seccomp.syscalls[3].errnoRet: SCMP_ACT_KILL takes no errno",
			`linux.seccomp.syscalls[3].args[0].op: unknown operator "=="`,
			"linux.seccomp.syscalls[3].args[1].index: 6 is above 5: a system call has six arguments",
		}},
		{"one condition, two actions", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1)), trap("read", arg(0, specs.OpEqualTo, 1)),
		}}, []string{"linux.seccomp.syscalls[1].args: the same conditions as in syscalls[0], with another action"}},
		{"one condition in 32 bits", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86}, Syscalls: []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1)), trap("read", arg(0, specs.OpEqualTo, 1<<32+1)),
		}}, []string{"linux.seccomp.syscalls[1].args: the same conditions as in syscalls[0], with another action"}},
		{"a wider rule after a narrower one", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1), arg(1, specs.OpEqualTo, 2)), trap("read", arg(0, specs.OpEqualTo, 1)),
		}}, []string{"linux.seccomp.syscalls[1].args: covers syscalls[0], which has another action"}},
		{"more than a filter can hold", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: manyRules(4000)},
			[]string{"linux.seccomp.syscalls: needs 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := defect.List{{Path: "ociVersion", Problem: "from before"}}
			p, _ := compile(&tt.s, Env{Arch: "amd64"}, &d, compileGo)
			if p != nil {
				t.Error("a program in spite of defects")
			}
			d = d[1:]
			for i, want := range tt.want {
				if i >= len(d) || !strings.HasPrefix(d[i].String(), want) {
					t.Fatalf("got %q, want %q", d, tt.want)
				}
			}
			if len(d) != len(tt.want) {
				t.Errorf("got %q, want %q", d, tt.want)
			}
		})
	}
}

// manyRules returns n rules that have nothing in common.
func manyRules(n int) []specs.LinuxSyscall {
	out := make([]specs.LinuxSyscall, n)
	for i := range out {
		out[i] = allow("read", arg(uint(i%6), specs.OpEqualTo, uint64(i)*0x9e3779b97f4a7c15))
	}
	return out
}

func TestUnknownMachine(t *testing.T) {
	var d defect.List
	if p, _ := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, Env{Arch: "wasm"}, &d); p != nil || len(d) != 1 || d[0].Path != "linux.seccomp" {
		t.Errorf("got %v, %v", p, d)
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		goarch string
		s      specs.LinuxSeccomp
		want   []string
	}{
		{"unknown call that would be blocked", "amd64", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{trap("not_a_call")}},
			[]string{`linux.seccomp.syscalls[0].names: unknown system call "not_a_call": it is not blocked`}},
		{"unknown call that is blocked anyway", "amd64", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{trap("not_a_call")}}, nil},
		{"unknown call that would be allowed", "amd64", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{allow("not_a_call")}}, nil},
		{"a call of another machine", "riscv64", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{trap("arch_prctl")}}, nil},
		{"a narrower rule after a wider one", "amd64", specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1)), trap("read", arg(0, specs.OpEqualTo, 1), arg(1, specs.OpEqualTo, 2)),
		}}, []string{"linux.seccomp.syscalls[1].args: no effect, syscalls[0] covers it"}},
		{"a flag for notify", "amd64", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}},
			[]string{"linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no meaning without SCMP_ACT_NOTIFY"}},
		{"an architecture without a table", "s390x", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchS390}},
			[]string{"linux.seccomp.architectures[0]: no system call table for SCMP_ARCH_S390: its programs will be killed"}},
		{"the same of another machine", "amd64", specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchS390}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			p, got := compile(&tt.s, Env{Arch: tt.goarch}, &d, compileGo)
			if p == nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %q, %v; want %q", p, got, d, tt.want)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	notify := []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}
	for _, tt := range []struct {
		name  string
		s     specs.LinuxSeccomp
		flags uint32
	}{
		{"unset", specs.LinuxSeccomp{}, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"empty", specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{}}, 0},
		{"tsync is moot", specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC"}}, 0},
		{"log and spec_allow", specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow}},
			unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"notify", specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}, Syscalls: notify, ListenerPath: "/a", ListenerMetadata: "m"},
			unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.DefaultAction = specs.ActAllow
			p := mustCompile(t, &tt.s, "amd64")
			if p.Flags != tt.flags {
				t.Errorf("flags %#x, want %#x", p.Flags, tt.flags)
			}
			if p.Notify != (len(tt.s.Syscalls) > 0) || p.ListenerPath != tt.s.ListenerPath || p.ListenerMetadata != tt.s.ListenerMetadata {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestListenerIsIgnoredWithoutNotify(t *testing.T) {
	p := mustCompile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/a", ListenerMetadata: "m"}, "amd64")
	if p.Notify || p.ListenerPath != "" || p.ListenerMetadata != "" {
		t.Errorf("got %+v", p)
	}
}

func TestNone(t *testing.T) {
	var d defect.List
	if p, w := compile(nil, Env{}, &d, compileGo); p != nil || w != nil || d != nil {
		t.Errorf("got %v, %v, %v", p, w, d)
	}
}

// TestRules are the rules of the package comment, one by one.
func TestRules(t *testing.T) {
	errno := specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno}
	on386 := func(number uint32, args ...uint64) bpfvm.Data {
		d := onX8664(number, args...)
		d.Arch = unix.AUDIT_ARCH_I386
		return d
	}
	both := []specs.Arch{specs.ArchX86, specs.ArchX86_64, specs.ArchX32}
	for _, tt := range []struct {
		name  string
		def   specs.LinuxSeccompAction
		archs []specs.Arch
		rules []specs.LinuxSyscall
		call  bpfvm.Data
		want  uint32
	}{
		{"1: another architecture", specs.ActAllow, nil, nil, on386(3), badArch},
		{"1: x32 without x32", specs.ActAllow, nil, nil, onX8664(x32Bit), badArch},
		{"1: x32 with x32", specs.ActAllow, both, nil, onX8664(x32Bit), allowed},
		{"1: a skipped call", specs.ActAllow, nil, nil, onX8664(0xffffffff), allowed},
		{"2: a rule of the default action is none", specs.ActAllow, nil, []specs.LinuxSyscall{
			trap("read", arg(0, specs.OpEqualTo, 1)), allow("read"),
		}, onX8664(0, 1), trapped},
		{"3: no conditions beat conditions", specs.ActErrno, nil, []specs.LinuxSyscall{
			trap("read", arg(0, specs.OpEqualTo, 1)), allow("read"),
		}, onX8664(0, 1), allowed},
		{"3: the first without conditions wins", specs.ActErrno, nil, []specs.LinuxSyscall{trap("read"), allow("read")}, onX8664(0), trapped},
		{"4: all must hold", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1), arg(1, specs.OpEqualTo, 2)),
		}, onX8664(0, 1, 3), denied},
		{"4: unless one argument is named twice", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1), arg(0, specs.OpEqualTo, 2), arg(1, specs.OpEqualTo, 3)),
		}, onX8664(0, 0, 3), allowed},
		{"5: a higher argument first", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1)), trap("read", arg(1, specs.OpEqualTo, 2)),
		}, onX8664(0, 1, 2), trapped},
		{"5: equal before less", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpLessThan, 9)), trap("read", arg(0, specs.OpEqualTo, 2)),
		}, onX8664(0, 2), trapped},
		{"5: less before greater", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpGreaterThan, 1)), trap("read", arg(0, specs.OpLessEqual, 2)),
		}, onX8664(0, 2), trapped},
		{"5: the smaller limit first", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpLessThan, 9)), trap("read", arg(0, specs.OpLessThan, 5)),
		}, onX8664(0, 2), trapped},
		{"5: the larger limit first", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpGreaterThan, 5)), trap("read", arg(0, specs.OpGreaterThan, 9)),
		}, onX8664(0, 10), trapped},
		{"6: the wider, earlier rule stays", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read", arg(0, specs.OpEqualTo, 1)), trap("read", arg(0, specs.OpEqualTo, 1), arg(1, specs.OpEqualTo, 2)),
		}, onX8664(0, 1, 2), allowed},
		{"7: a newer call", specs.ActErrno, nil, []specs.LinuxSyscall{allow("read")}, onX8664(1), enosys},
		{"7: not above what a rule of the default action names", specs.ActErrno, nil, []specs.LinuxSyscall{
			allow("read"), {Names: []string{"close"}, Action: specs.ActErrno},
		}, onX8664(3), denied},
		{"7: not if the profile is open", specs.ActLog, nil, []specs.LinuxSyscall{errno}, onX8664(1), unix.SECCOMP_RET_LOG},
		{"7: not if it names nothing", specs.ActErrno, nil, nil, onX8664(1), denied},
		{"8: the default", specs.ActErrno, nil, []specs.LinuxSyscall{allow("close")}, onX8664(2), denied},
		{"64 bits", specs.ActErrno, nil, []specs.LinuxSyscall{allow("read", arg(0, specs.OpEqualTo, 1))}, onX8664(0, 1<<32+1), denied},
		{"32 bits", specs.ActErrno, both, []specs.LinuxSyscall{allow("read", arg(0, specs.OpEqualTo, 1<<32+1))}, on386(3, 1), allowed},
		{"32 bits on x32", specs.ActErrno, both, []specs.LinuxSyscall{allow("read", arg(0, specs.OpEqualTo, 1))}, onX8664(x32Bit, 1<<32+1), allowed},
		{"the mask is value", specs.ActErrno, nil, []specs.LinuxSyscall{allow("read", masked(0, 0xf0, 0x12f))}, onX8664(0, 0xff2f), allowed},
		{"a mask of 0 always holds", specs.ActErrno, nil, []specs.LinuxSyscall{allow("read", masked(0, 0, 1))}, onX8664(0, 7), allowed},
		{"socketcall", specs.ActErrno, both, []specs.LinuxSyscall{allow("connect", arg(0, specs.OpEqualTo, 9))}, on386(102, 3), allowed},
		{"another sub-call", specs.ActErrno, both, []specs.LinuxSyscall{allow("connect")}, on386(102, 4), denied},
		{"the call itself", specs.ActErrno, both, []specs.LinuxSyscall{allow("connect", arg(0, specs.OpEqualTo, 9))}, on386(362, 3), denied},
		{"ipc", specs.ActErrno, both, []specs.LinuxSyscall{allow("shmat")}, on386(117, 21), allowed},
		{"no socketcall on x86-64", specs.ActErrno, nil, []specs.LinuxSyscall{allow("connect"), allow("execve")}, onX8664(53, 3), denied},
		{"x32's own number", specs.ActErrno, both, []specs.LinuxSyscall{allow("execve")}, onX8664(x32Bit | 520), allowed},
		{"not x86-64's", specs.ActErrno, both, []specs.LinuxSyscall{allow("execve")}, onX8664(x32Bit | 59), denied},
		{"absent on x32", specs.ActErrno, both, []specs.LinuxSyscall{allow("uselib"), allow("execve")}, onX8664(x32Bit | 134), denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &specs.LinuxSeccomp{DefaultAction: tt.def, Architectures: tt.archs, Syscalls: tt.rules}
			p := mustCompile(t, s, "amd64")
			if got, _ := bpfvm.Run(p.Filter, &tt.call, false); got != tt.want {
				t.Errorf("%#x, want %#x", got, tt.want)
			}
		})
	}
}

// TestActions checks what each action is in the kernel's terms.
func TestActions(t *testing.T) {
	for _, name := range KnownActions() {
		a, known := actionNamed(name)
		if !known {
			t.Errorf("%s is not known", name)
		}
		if want := ociAction(specs.LinuxSeccompAction(name), ptr(uint(0))); a != want {
			t.Errorf("%s is %#x, want %#x", name, a, want)
		}
	}
	if len(KnownActions()) != len(allActions) || len(KnownOperators()) != len(allOps) {
		t.Error("a list is not complete")
	}
}

// TestLongWays compiles rules so many that jumps are longer than an
// instruction can tell.
func TestLongWays(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32}}
	for i, name := range []string{"read", "write", "open", "close", "ioctl", "socket"} {
		for j := range 60 {
			c := allow(name, arg(uint(i%3), specs.OpEqualTo, uint64(i*1000+j*3)))
			if j%2 == 0 {
				c.Action = specs.ActTrap
			}
			s.Syscalls = append(s.Syscalls, c)
		}
	}
	p := mustCompile(t, s, "amd64")
	if len(p.Filter) < 400 {
		t.Fatalf("only %d instructions", len(p.Filter))
	}
	if !slices.ContainsFunc(p.Filter, func(i Instruction) bool { return i.Code == opJump && i.K > farthest }) {
		t.Error("no long jump")
	}
	if diff := probe(s, "amd64", running(p.Filter, false), reading(newOracle(s, archsOf(s, "amd64")))); diff != "" {
		t.Error(diff)
	}
}
