package seccomp

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	for i := range numNames {
		name := nameAt(i)
		if i > 0 && nameAt(i-1) >= name {
			t.Errorf("%s does not come after %s", name, nameAt(i-1))
		}
		for _, hint := range []int{0, i - 1, i, i + 1, numNames - 1, numNames} {
			if got, ok := nameIndex(name, max(hint, 0)); !ok || got != i {
				t.Errorf("%s from %d: %d, %v; want %d", name, hint, got, ok, i)
			}
			if got, ok := nameIndex(name+"_", max(hint, 0)); ok {
				t.Errorf("%s_ is found at %d", name, got)
			}
		}
	}
	for _, name := range []string{"", "a", "zzz", "READ"} {
		if _, ok := nameIndex(name, 7); ok {
			t.Errorf("%q is found", name)
		}
	}
}

// TestNumbers checks some numbers that everyone knows, of every table.
func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		abi  int
		name string
		want uint32
	}{
		{abiX86, "read", 3}, {abiX86, "clone3", 435}, {abiX8664, "read", 0}, {abiX8664, "execve", 59},
		{abiX32, "read", 0x40000000}, {abiX32, "execve", 0x40000208}, {abiARM, "open", 5}, {abiARM, "set_tls", 0xf0005},
		{abiARM64, "openat", 56}, {abiMIPS, "read", 4003}, {abiMIPSEL64, "read", 5000}, {abiPPC, "fork", 2},
		{abiPPC64, "read", 3}, {abiPPC64LE, "write", 4}, {abiS390X, "read", 3}, {abiRISCV64, "openat", 56}, {abiLoong64, "openat", 56},
	} {
		a := &abis[tt.abi]
		i, ok := nameIndex(tt.name, 0)
		if !ok || a.slots[i] == 0 || a.number(int(a.slots[i])-1) != tt.want {
			t.Errorf("%s of %s is not %d", tt.name, a.name, tt.want)
		}
	}
}

// TestArchitectures checks that every architecture of the runtime-spec is
// known, and that each slot of each table is a number of its own.
func TestArchitectures(t *testing.T) {
	all := []specs.Arch{
		specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64,
		specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64,
		specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64,
		specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
	}
	for _, name := range all {
		if abiNamed(string(name)) < 0 {
			t.Errorf("%s is not known", name)
		}
	}
	if len(all) != numABIs {
		t.Errorf("%d architectures, and the runtime-spec has %d", numABIs, len(all))
	}
	for i := range abis {
		a := &abis[i]
		if a.slots == nil {
			continue
		}
		var seen []uint16
		for _, s := range a.slots {
			if s == 0 {
				continue
			}
			if slices.Contains(seen, s) || s > maxSlots {
				t.Errorf("%s: slot %d is there twice, or too high", a.name, s)
			}
			seen = append(seen, s)
		}
		if wide, big := a.audit&0x80000000 != 0, a.audit&0x40000000 == 0; a.name != "SCMP_ARCH_X32" && (a.wide != wide || a.big != big) {
			t.Errorf("%s: its audit number %#x says otherwise", a.name, a.audit)
		}
	}
	for _, goarch := range goarchs {
		if host := hostABIs(goarch); len(host) == 0 || abis[host[0]].slots == nil || abis[host[0]].audit == unix.AUDIT_ARCH_SPARC64 {
			t.Errorf("%s has no table", goarch)
		}
	}
}
