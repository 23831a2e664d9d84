package cgroups

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

// dev makes a rule of the config: "+ c 1:3 rwm" or "- a *:* rwm".
func dev(s string) specs.LinuxDeviceCgroup {
	f := strings.Fields(s)
	r := specs.LinuxDeviceCgroup{Allow: f[0] == "+", Type: f[1], Access: f[3]}
	var major, minor int64
	if n, _ := fmt.Sscanf(strings.ReplaceAll(f[2], "*", "-1"), "%d:%d", &major, &minor); n != 2 {
		panic(s)
	}
	if major >= 0 {
		r.Major = &major
	}
	if minor >= 0 {
		r.Minor = &minor
	}
	return r
}

func devs(rules ...string) (out []specs.LinuxDeviceCgroup) {
	for _, s := range rules {
		out = append(out, dev(s))
	}
	return out
}

func (r DeviceRule) String() string {
	number := func(n int64) string {
		if n < 0 {
			return "*"
		}
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s%s:%s %s", map[bool]string{true: "+", false: "-"}[r.Allow], number(r.Major), number(r.Minor), r.Access)
}

func (d DeviceRules) String() string { return fmt.Sprint(d.Allow, d.Rules) }

func TestCompileDevices(t *testing.T) {
	const defaults = "false [+*:* m +1:3 rwm +1:5 rwm +1:7 rwm +1:8 rwm +1:9 rwm +5:0 rwm +5:2 rwm +10:200 rwm +136:* rwm]"
	for _, tt := range []struct {
		name        string
		rules       []specs.LinuxDeviceCgroup
		char, block string
	}{
		{"nothing asked", nil, defaults, "false [+*:* m]"},
		{"deny all, as engines begin", devs("- a *:* rwm"), defaults, "false [+*:* m]"},
		{"allow all", devs("+ a *:* rwm"), "true []", "true []"},
		{"allow all, then deny all", devs("+ a *:* rwm", "- a *:* rwm"), defaults, "false [+*:* m]"},
		{"a default that is allowed again", devs("- a *:* rwm", "+ c 1:3 rwm", "+ c 136:7 rw"), defaults, "false [+*:* m]"},
		{"one more", devs("- a *:* rwm", "+ b 8:0 r"), defaults, "false [+*:* m +8:0 r]"},
		{"rights of two rules", devs("- a *:* rwm", "+ b 8:0 r", "+ b 8:0 w"), defaults, "false [+*:* m +8:0 rw]"},
		{"a default denied by its number", devs("- a *:* rwm", "- c 10:200 rwm"),
			"false [+*:* m +1:3 rwm +1:5 rwm +1:7 rwm +1:8 rwm +1:9 rwm +5:0 rwm +5:2 rwm +136:* rwm -10:200 rwm]", "false [+*:* m]"},
		{"an exception to all", devs("+ a *:* rwm", "- b 8:* w"), "true []", "true [-8:* w]"},
		{"an exception to an exception", devs("+ a *:* rwm", "- b 8:* rwm", "+ b 8:1 r"), "true []", "true [-8:* rwm +8:1 r]"},
		{"denied what is denied", devs("- a *:* rwm", "- b 7:* rw"), defaults, "false [+*:* m]"},
		{"every block device", devs("- a *:* rwm", "+ b *:* rwm"), defaults, "true []"},
		{"both types by number", devs("- a *:* rwm", "+ a 8:0 rw"),
			"false [+*:* m +1:3 rwm +1:5 rwm +1:7 rwm +1:8 rwm +1:9 rwm +5:0 rwm +5:2 rwm +8:0 rw +10:200 rwm +136:* rwm]", "false [+*:* m +8:0 rw]"},
		{"-1 is every number", []specs.LinuxDeviceCgroup{{Allow: true, Type: "b", Major: ptr(int64(-1)), Minor: ptr(int64(-1)), Access: "rwm"}}, defaults, "true []"},
		{"no type is both", []specs.LinuxDeviceCgroup{{Allow: true, Access: "mrw"}}, "true []", "true []"},
		{"no mknod at all", devs("- a *:* rwm", "- c *:* m", "- b *:* m"),
			// The defaults stand behind the last rule that denies without a number.
			defaults, "false [+*:* m]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			got := compileDevices(tt.rules, &d)
			if err := d.Err(); err != nil {
				t.Fatal(err)
			}
			if s := got.Char.String(); s != tt.char {
				t.Errorf("char:\n got %s\nwant %s", s, tt.char)
			}
			if s := got.Block.String(); s != tt.block {
				t.Errorf("block:\n got %s\nwant %s", s, tt.block)
			}
		})
	}
}

func TestCompileDevicesRefuses(t *testing.T) {
	for _, tt := range []struct {
		rule specs.LinuxDeviceCgroup
		want string
	}{
		{specs.LinuxDeviceCgroup{Type: "p", Access: "r"}, `linux.resources.devices[0].type: "p" is none of a, b and c`},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "rx"}, `linux.resources.devices[0].access: "rx" has something else than r, w and m in it`},
		{specs.LinuxDeviceCgroup{Type: "c"}, `linux.resources.devices[0].access: it is empty: name at least one of r, w and m`},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "r", Major: ptr(int64(-2))}, `linux.resources.devices[0].major: -2 is not a device number`},
		{specs.LinuxDeviceCgroup{Type: "c", Access: "r", Minor: ptr(int64(1 << 31))}, `linux.resources.devices[0].minor: 2147483648 is not a device number`},
	} {
		var d defect.List
		compileDevices([]specs.LinuxDeviceCgroup{tt.rule}, &d)
		if len(d) != 1 || d[0].String() != tt.want {
			t.Errorf("%+v:\n got %v\nwant %s", tt.rule, d, tt.want)
		}
	}
	var many []specs.LinuxDeviceCgroup
	for i := range int64(5000) {
		many = append(many, specs.LinuxDeviceCgroup{Allow: true, Type: "b", Major: ptr(i), Minor: ptr(i), Access: "r"})
	}
	var d defect.List
	compileDevices(many, &d)
	if len(d) != 1 || !strings.Contains(d[0].Problem, "the kernel takes 4096") {
		t.Errorf("5000 rules: %v", d)
	}
}

// verdict is what the spec says of an access: each right is decided by the last
// rule of the list that names it.
func verdict(list []rule, kind byte, major, minor int64, access Access) bool {
	for right := mayMknod; right <= mayWrite; right <<= 1 {
		if access&right == 0 {
			continue
		}
		ok := false
		for _, r := range list {
			if (r.kind == 'a' || r.kind == kind) && (r.Major < 0 || r.Major == major) && (r.Minor < 0 || r.Minor == minor) && r.Access&right != 0 {
				ok = r.Allow
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// interpret runs a program on one access. It knows only what the kernel's
// verifier accepts of a cgroup_device program, and fails on anything else.
func interpret(insns asm.Instructions, kind byte, major, minor int64, access Access) (ok bool, steps int, err error) {
	ctx := [3]uint32{2 | uint32(access)<<16, uint32(major), uint32(minor)}
	if kind == 'b' {
		ctx[0] = 1 | uint32(access)<<16
	}
	var reg [6]uint64
	var set [6]bool
	for pc := 0; ; pc++ {
		if pc >= len(insns) || pc < 0 {
			return false, steps, fmt.Errorf("ran out of the program at %d", pc)
		}
		steps++
		in := insns[pc]
		dst, src, imm := in.Dst, in.Src, uint64(in.Constant)
		jump := false
		if in.OpCode != opLoad32 && in.OpCode != opMoveImm && in.OpCode != opJump && in.OpCode != opExit && in.OpCode != opMove && !set[dst] {
			return false, steps, fmt.Errorf("%d reads register %d before it is set", pc, dst)
		}
		switch in.OpCode {
		case opLoad32:
			reg[dst], set[dst] = uint64(ctx[in.Offset/4]), true
		case opMove:
			if !set[src] {
				return false, steps, fmt.Errorf("%d reads register %d before it is set", pc, src)
			}
			reg[dst], set[dst] = reg[src], true
		case opMoveImm:
			reg[dst], set[dst] = imm, true
		case opAndImm:
			reg[dst] &= imm
		case opShrImm:
			reg[dst] >>= imm
		case opJump:
			jump = true
		case opJumpEq:
			jump = reg[dst] == imm
		case opJumpNe:
			jump = reg[dst] != imm
		case opJumpSet:
			jump = reg[dst]&imm != 0
		case opExit:
			return reg[0] == 1, steps, nil
		default:
			return false, steps, fmt.Errorf("unknown instruction %#x at %d", in.OpCode, pc)
		}
		if jump {
			if in.Offset < 0 {
				return false, steps, fmt.Errorf("%d jumps back", pc)
			}
			pc += int(in.Offset)
		}
	}
}

// TestProgramAgreesWithTheList holds the compiled program against the meaning
// of the list that it was compiled from, for lists of few numbers, so that rules
// meet in every way.
func TestProgramAgreesWithTheList(t *testing.T) {
	loads := 0
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.SampledFrom([]int64{-1, -1, 1, 5, 8, 136})
		minor := rapid.SampledFrom([]int64{-1, -1, 0, 3})
		var list []rule
		var d Devices
		for range rapid.IntRange(0, 12).Draw(t, "rules") {
			r := rule{rapid.SampledFrom([]byte("abc")).Draw(t, "kind"), DeviceRule{
				Allow: rapid.Bool().Draw(t, "allow"), Major: number.Draw(t, "major"), Minor: minor.Draw(t, "minor"),
				Access: Access(rapid.IntRange(1, 7).Draw(t, "access")),
			}}
			list = append(list, r)
			if r.kind != 'b' {
				d.Char.add(r.DeviceRule)
			}
			if r.kind != 'c' {
				d.Block.add(r.DeviceRule)
			}
		}
		d.Char.order()
		d.Block.order()
		insns := assemble(&d)
		for _, kind := range []byte("bc") {
			for _, major := range []int64{1, 5, 8, 9, 136} {
				for _, minor := range []int64{0, 1, 3} {
					for access := mayMknod; access <= all; access++ {
						want := verdict(list, kind, major, minor, access)
						got, _, err := interpret(insns, kind, major, minor, access)
						if err != nil {
							t.Fatal(err)
						}
						if got != want {
							t.Fatalf("%c %d:%d %v: the program says %v, the list %v\n%v\n%v", kind, major, minor, access, got, want, list, d)
						}
					}
				}
			}
		}
		if os.Geteuid() == 0 && loads < 100 { // the verifier's time is better spent on fewer
			loads++
			prog, err := loadProgram(insns)
			if errors.Is(err, unix.EPERM) {
				return
			}
			if err != nil {
				t.Fatalf("%v\n%v", err, d)
			}
			prog.Close()
		}
	})
}

// TestProgramText shows programs as another implementation reads them.
func TestProgramText(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []specs.LinuxDeviceCgroup
		want  string
	}{
		{"all", devs("+ a *:* rwm"), `
			MovImm dst: r0 imm: 1
			Exit`},
		{"one exception", devs("+ a *:* rwm", "- b 8:* rwm"), `
			LdXMemW dst: r2 src: r1 off: 0 imm: 0
			AndImm dst: r2 imm: 65535
			LdXMemW dst: r4 src: r1 off: 4 imm: 0
			JEqImm dst: r2 off: 1 imm: 2
			JEqImm dst: r4 off: 2 imm: 8
			MovImm dst: r0 imm: 1
			Exit
			MovImm dst: r0 imm: 0
			Exit`},
		{"the defaults", nil, `
			LdXMemW dst: r2 src: r1 off: 0 imm: 0
			MovReg dst: r3 src: r2
			RShImm dst: r3 imm: 16
			AndImm dst: r2 imm: 65535
			LdXMemW dst: r4 src: r1 off: 4 imm: 0
			LdXMemW dst: r5 src: r1 off: 8 imm: 0
			JNEImm dst: r2 off: 12 imm: 2
			JEqImm dst: r4 off: 15 imm: 136
			JNEImm dst: r4 off: 1 imm: 10
			JEqImm dst: r5 off: 13 imm: 200
			JNEImm dst: r4 off: 2 imm: 5
			JEqImm dst: r5 off: 11 imm: 2
			JEqImm dst: r5 off: 10 imm: 0
			JNEImm dst: r4 off: 5 imm: 1
			JEqImm dst: r5 off: 8 imm: 9
			JEqImm dst: r5 off: 7 imm: 8
			JEqImm dst: r5 off: 6 imm: 7
			JEqImm dst: r5 off: 5 imm: 5
			JEqImm dst: r5 off: 4 imm: 3
			AndImm dst: r3 imm: 6
			JEqImm dst: r3 off: 2 imm: 0
			MovImm dst: r0 imm: 0
			Exit
			MovImm dst: r0 imm: 1
			Exit`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			devices := compileDevices(tt.rules, &d)
			got, want := text(t, assemble(&devices)), strings.ReplaceAll(strings.TrimSpace(tt.want), "\t", "")
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// text is a program as cilium/ebpf prints it.
func text(t *testing.T, insns asm.Instructions) string {
	t.Helper()
	var lines []string
	for i := range insns {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(insns[i])))
	}
	return strings.Join(lines, "\n")
}

func TestPrintedPlanShowsTheRights(t *testing.T) {
	for a := Access(0); a <= all; a++ {
		text, err := a.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Access
		if err := back.UnmarshalText(text); err != nil || back != a {
			t.Errorf("%d is %q, which is read as %d", a, text, back)
		}
	}
	if !slices.Equal([]string{mayRead.String(), all.String()}, []string{"r", "rwm"}) {
		t.Error(mayRead, all)
	}
}
