package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// abi is one architecture of a profile: a calling convention of a kernel.
type abi struct {
	name  string            // as in linux.seccomp.architectures
	audit uint32            // what seccomp_data.arch holds (linux/audit.h)
	base  uint32            // the number of the call in slot 0
	wide  bool              // arguments have 64 bits
	big   bool              // big endian
	mux   uint16            // slot of socketcall, ipc is ipcAfter later; 0: not multiplexed
	slots *[numNames]uint16 // by name: slot plus 1; nil when there is no table
}

const (
	// ipcAfter is how far ipc's number is above socketcall's, everywhere.
	ipcAfter = 15
	// subcallIPC is what the table subcall adds to ipc's sub-calls.
	subcallIPC = 100
	// maxSlots bounds every slot of every table.
	maxSlots = 1024
	// armPrivate is the slot from which on arm's calls have numbers from
	// armPrivateBase on (arch/arm/include/uapi/asm/unistd.h).
	armPrivate     = 1000
	armPrivateEnd  = armPrivate + 7
	armPrivateBase = 0xf0000
	// x32Bit marks a call of x32 (asm/unistd.h, __X32_SYSCALL_BIT).
	x32Bit = 0x40000000
)

// Places in abis.
const (
	abiX86 = iota
	abiX8664
	abiX32
	abiARM
	abiARM64
	abiMIPS
	abiMIPS64
	abiMIPS64N32
	abiMIPSEL
	abiMIPSEL64
	abiMIPSEL64N32
	abiPPC
	abiPPC64
	abiPPC64LE
	abiS390
	abiS390X
	abiPARISC
	abiPARISC64
	abiRISCV64
	abiLoong64
	abiM68K
	abiSH
	abiSHEB
	numABIs
)

// abis are the architectures of the runtime-spec, in its order. Those without
// audit are of machines that Go does not run on.
var abis = [numABIs]abi{
	abiX86:         {name: "SCMP_ARCH_X86", audit: unix.AUDIT_ARCH_I386, mux: 102, slots: &slotsX86},
	abiX8664:       {name: "SCMP_ARCH_X86_64", audit: unix.AUDIT_ARCH_X86_64, wide: true, slots: &slotsX8664},
	abiX32:         {name: "SCMP_ARCH_X32", audit: unix.AUDIT_ARCH_X86_64, base: x32Bit, slots: &slotsX32},
	abiARM:         {name: "SCMP_ARCH_ARM", audit: unix.AUDIT_ARCH_ARM, slots: &slotsARM},
	abiARM64:       {name: "SCMP_ARCH_AARCH64", audit: unix.AUDIT_ARCH_AARCH64, wide: true, slots: &slotsARM64},
	abiMIPS:        {name: "SCMP_ARCH_MIPS", audit: unix.AUDIT_ARCH_MIPS, base: 4000, big: true, mux: 102, slots: &slotsMIPS},
	abiMIPS64:      {name: "SCMP_ARCH_MIPS64", audit: unix.AUDIT_ARCH_MIPS64, base: 5000, big: true, wide: true, slots: &slotsMIPS64},
	abiMIPS64N32:   {name: "SCMP_ARCH_MIPS64N32", audit: unix.AUDIT_ARCH_MIPS64N32, base: 6000, big: true},
	abiMIPSEL:      {name: "SCMP_ARCH_MIPSEL", audit: unix.AUDIT_ARCH_MIPSEL, base: 4000, mux: 102, slots: &slotsMIPS},
	abiMIPSEL64:    {name: "SCMP_ARCH_MIPSEL64", audit: unix.AUDIT_ARCH_MIPSEL64, base: 5000, wide: true, slots: &slotsMIPS64},
	abiMIPSEL64N32: {name: "SCMP_ARCH_MIPSEL64N32", audit: unix.AUDIT_ARCH_MIPSEL64N32, base: 6000},
	abiPPC:         {name: "SCMP_ARCH_PPC", audit: unix.AUDIT_ARCH_PPC, big: true, mux: 102, slots: &slotsPPC},
	abiPPC64:       {name: "SCMP_ARCH_PPC64", audit: unix.AUDIT_ARCH_PPC64, big: true, wide: true, mux: 102, slots: &slotsPPC64},
	abiPPC64LE:     {name: "SCMP_ARCH_PPC64LE", audit: unix.AUDIT_ARCH_PPC64LE, wide: true, mux: 102, slots: &slotsPPC64},
	abiS390:        {name: "SCMP_ARCH_S390", audit: unix.AUDIT_ARCH_S390, big: true, mux: 102},
	abiS390X:       {name: "SCMP_ARCH_S390X", audit: unix.AUDIT_ARCH_S390X, big: true, wide: true, mux: 102, slots: &slotsS390X},
	abiPARISC:      {name: "SCMP_ARCH_PARISC"},
	abiPARISC64:    {name: "SCMP_ARCH_PARISC64"},
	abiRISCV64:     {name: "SCMP_ARCH_RISCV64", audit: unix.AUDIT_ARCH_RISCV64, wide: true, slots: &slotsRISCV64},
	abiLoong64:     {name: "SCMP_ARCH_LOONGARCH64", audit: unix.AUDIT_ARCH_LOONGARCH64, wide: true, slots: &slotsLoong64},
	abiM68K:        {name: "SCMP_ARCH_M68K"},
	abiSH:          {name: "SCMP_ARCH_SH"},
	abiSHEB:        {name: "SCMP_ARCH_SHEB"},
}

// abiNamed returns the place in abis of a name of the runtime-spec, -1 if it is
// none.
func abiNamed(name string) int {
	for i := range abis {
		if abis[i].name == name {
			return i
		}
	}
	return -1
}

// hostABIs returns the architectures that a kernel of GOARCH goarch can report
// to a filter, its own first; nil if package seccomp does not know it.
func hostABIs(goarch string) []int {
	switch goarch {
	case "amd64":
		return []int{abiX8664, abiX86, abiX32}
	case "386":
		return []int{abiX86, abiX8664, abiX32} // the kernel may be a 64-bit one
	case "arm64":
		return []int{abiARM64, abiARM}
	case "arm":
		return []int{abiARM, abiARM64}
	case "mips":
		return []int{abiMIPS, abiMIPS64, abiMIPS64N32}
	case "mips64":
		return []int{abiMIPS64, abiMIPS, abiMIPS64N32}
	case "mipsle":
		return []int{abiMIPSEL, abiMIPSEL64, abiMIPSEL64N32}
	case "mips64le":
		return []int{abiMIPSEL64, abiMIPSEL, abiMIPSEL64N32}
	case "ppc64":
		return []int{abiPPC64, abiPPC}
	case "ppc64le":
		return []int{abiPPC64LE}
	case "s390x":
		return []int{abiS390X, abiS390}
	case "riscv64":
		return []int{abiRISCV64}
	case "loong64":
		return []int{abiLoong64}
	}
	return nil
}

// number returns the number of the call in a slot.
func (a *abi) number(slot int) uint32 {
	if slot >= armPrivate {
		return armPrivateBase + uint32(slot-armPrivate)
	}
	return a.base + uint32(slot)
}

// nameAt returns name i of the tables.
func nameAt(i int) string {
	if i == 0 {
		return allNames[:nameEnd[0]]
	}
	return allNames[nameEnd[i-1]:nameEnd[i]]
}

// nameIndex returns the place of name in the tables and whether it is there;
// else the place where it would be. hint is where to look first: profiles list
// their names in order, so the place after the last name found is a good one.
func nameIndex(name string, hint int) (int, bool) {
	lo, hi := 0, numNames
	if hint < numNames && nameAt(hint) <= name {
		// Double the step until the name is passed.
		lo = hint
		for step := 1; lo+step < numNames; step *= 2 {
			if nameAt(lo+step) > name {
				hi = lo + step
				break
			}
			lo += step
		}
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if nameAt(mid) < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < numNames && nameAt(lo) == name
}

// selectABIs returns the architectures of a filter: the machine's own first,
// then those of wanted (places in abis) that its kernel can report.
func selectABIs(host, wanted []int) []*abi {
	sel := []*abi{&abis[host[0]]}
	for _, i := range host[1:] {
		if slices.Contains(wanted, i) && abis[i].slots != nil {
			sel = append(sel, &abis[i])
		}
	}
	return sel
}
