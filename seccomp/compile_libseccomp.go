//go:build libseccomp

package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/gourd-oci/gourd/internal/defect"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// A build with the tag libseccomp (it needs cgo) leaves the compiling to
// libseccomp. It is the oracle of the differential test, and a way out for who
// trusts that library more.

// generate returns the program of a profile, or adds to d why there is none.
func generate(p *profile, d *defect.List) []Instruction {
	p.gather() // for its warnings
	code, err := compileLibseccomp(p)
	if err != nil {
		d.Add("linux.seccomp", "%v", err)
		return nil
	}
	return code
}

// compileLibseccomp does what runc does: it adds the rules one by one and puts
// the tail that answers ENOSYS before libseccomp's program.
func compileLibseccomp(p *profile) ([]Instruction, error) {
	f, err := libseccomp.NewFilter(libAction(p.action))
	if err != nil {
		return nil, fmt.Errorf("libseccomp: new filter: %w", err)
	}
	defer f.Release()
	if err := libArchitectures(f, p.abis); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(p.entries, func(e entry) bool { return e.action != p.action }) {
		// A binary tree, as runc asks for with more than 32 entries. Without
		// it, libseccomp 2.5.4 forgets to load the number when its first rule
		// is for a call that the architecture lacks; and without any rule, the
		// tree is wrong.
		if err := f.SetOptimize(2); err != nil {
			return nil, fmt.Errorf("libseccomp: optimize: %w", err)
		}
	}
	for i := range p.entries {
		if err := libEntry(f, p, &p.entries[i]); err != nil {
			return nil, err
		}
	}
	code, err := libExport(f)
	if err != nil {
		return nil, err
	}
	stub, err := libTail(p)
	return append(stub, code...), err
}

// libArchitectures makes the filter's architectures those of the profile.
func libArchitectures(f *libseccomp.ScmpFilter, wanted []*abi) error {
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return fmt.Errorf("libseccomp: native architecture: %w", err)
	}
	// The machine's own goes first: one filter has one byte order.
	if err := f.RemoveArch(native); err != nil {
		return fmt.Errorf("libseccomp: remove %v: %w", native, err)
	}
	for _, a := range wanted {
		arch, err := libseccomp.GetArchFromString(a.libName())
		if err != nil {
			return fmt.Errorf("libseccomp: %s: %w", a.name, err)
		}
		if err := f.AddArch(arch); err != nil {
			return fmt.Errorf("libseccomp: add %s: %w", a.name, err)
		}
	}
	return nil
}

// libEntry adds the rules of one entry.
func libEntry(f *libseccomp.ScmpFilter, p *profile, e *entry) error {
	if e.action == p.action {
		return nil
	}
	for _, name := range e.names {
		call, err := libseccomp.GetSyscallFromName(name)
		if err != nil {
			continue // unknown
		}
		for _, alt := range e.alternatives {
			conds := make([]libseccomp.ScmpCondition, len(alt))
			for i, c := range alt {
				conds[i] = libseccomp.ScmpCondition{Argument: uint(c.arg), Op: libOp(c.op), Operand1: c.value}
				if c.op == maskedEQ {
					conds[i].Operand1, conds[i].Operand2 = c.mask, c.value
				}
			}
			if len(conds) == 0 {
				err = f.AddRule(call, libAction(e.action))
			} else {
				err = f.AddRuleConditional(call, libAction(e.action), conds)
			}
			if err != nil {
				return fmt.Errorf("libseccomp: syscalls[%d], %s: %w", e.index, name, err)
			}
		}
	}
	return nil
}

// libExport returns the program.
func libExport(f *libseccomp.ScmpFilter) ([]Instruction, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp")
	defer file.Close()
	if err := f.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("libseccomp: export: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	code := make([]Instruction, len(raw)/8)
	if len(raw) == 0 || len(raw)%8 != 0 {
		return nil, errors.New("libseccomp: export: the program is cut off")
	}
	for i := range code {
		b := raw[i*8 : i*8+8]
		code[i] = Instruction{
			Code: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:]),
		}
	}
	return code, nil
}

// libTail returns the instructions that answer ENOSYS to calls above all that
// the profile names, one section for each architecture; they fall through into
// libseccomp's program.
func libTail(p *profile) ([]Instruction, error) {
	if !wantsTail(p.action) {
		return nil, nil
	}
	var code []Instruction
	for _, a := range p.abis {
		arch, err := libseccomp.GetArchFromString(a.libName())
		if err != nil {
			return nil, err
		}
		last := int64(-1)
		for _, e := range p.entries {
			for _, name := range e.names {
				last = max(last, a.libNumber(name, arch))
			}
		}
		if last < 0 {
			continue
		}
		section := []Instruction{{Code: opLoad, K: offNumber}}
		if a == &abis[abiS390X] {
			section = append(section, Instruction{Code: opIfIs, K: 0, Jf: 1}, Instruction{Code: opReturn, K: enosys})
		}
		switch a {
		case &abis[abiX8664]:
			section = append(section, Instruction{Code: opIfGE, K: x32Bit, Jt: 2})
		case &abis[abiX32]:
			section = append(section, Instruction{Code: opIfGE, K: x32Bit, Jf: 2})
		case &abis[abiARM]:
			section = append(section, Instruction{Code: opIfGE, K: armPrivateBase, Jt: 2})
		}
		section = append(section,
			Instruction{Code: opIfMore, K: uint32(last), Jf: 1},
			Instruction{Code: opReturn, K: enosys})
		code = append(code,
			Instruction{Code: opLoad, K: offArch},
			Instruction{Code: opIfIs, K: a.audit, Jf: uint8(len(section))})
		code = append(code, section...)
	}
	return code, nil
}

// libNumber returns the number of a call in libseccomp's tables, -1 if it has
// none; for a call that is only multiplexed that of the multiplexer.
func (a *abi) libNumber(name string, arch libseccomp.ScmpArch) int64 {
	n, err := libseccomp.GetSyscallFromNameByArch(name, arch)
	if err != nil {
		return -1
	}
	switch {
	case a == &abis[abiARM] && n >= armPrivateBase:
		return -1
	case n >= 0:
		return int64(n)
	case a.mux == 0:
		return -1
	}
	// libseccomp resolves every multiplexed name to a negative number and
	// keeps the direct one to itself.
	i, known := nameIndex(name, 0)
	if !known || subcall[i] == 0 {
		return -1
	}
	mux := int(a.mux)
	if subcall[i] > subcallIPC {
		mux += ipcAfter
	}
	return int64(a.number(max(mux, int(a.slots[i])-1)))
}

// libName returns the architecture as libseccomp-golang spells it.
func (a *abi) libName() string {
	switch a {
	case &abis[abiX8664]:
		return "amd64"
	case &abis[abiX86]:
		return "x86"
	case &abis[abiX32]:
		return "x32"
	case &abis[abiARM]:
		return "arm"
	case &abis[abiARM64]:
		return "arm64"
	case &abis[abiMIPS]:
		return "mips"
	case &abis[abiMIPS64]:
		return "mips64"
	case &abis[abiMIPSEL]:
		return "mipsel"
	case &abis[abiMIPSEL64]:
		return "mipsel64"
	case &abis[abiPPC]:
		return "ppc"
	case &abis[abiPPC64]:
		return "ppc64"
	case &abis[abiPPC64LE]:
		return "ppc64le"
	case &abis[abiS390X]:
		return "s390x"
	case &abis[abiRISCV64]:
		return "riscv64"
	case &abis[abiLoong64]:
		return "loong64"
	}
	return a.name
}

func libAction(a uint32) libseccomp.ScmpAction {
	code := int16(a & unix.SECCOMP_RET_DATA)
	switch a & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_KILL_THREAD:
		return libseccomp.ActKillThread
	case unix.SECCOMP_RET_KILL_PROCESS:
		return libseccomp.ActKillProcess
	case unix.SECCOMP_RET_TRAP:
		return libseccomp.ActTrap
	case unix.SECCOMP_RET_ERRNO:
		return libseccomp.ActErrno.SetReturnCode(code)
	case unix.SECCOMP_RET_TRACE:
		return libseccomp.ActTrace.SetReturnCode(code)
	case unix.SECCOMP_RET_LOG:
		return libseccomp.ActLog
	case unix.SECCOMP_RET_USER_NOTIF:
		return libseccomp.ActNotify
	}
	return libseccomp.ActAllow
}

func libOp(op operator) libseccomp.ScmpCompareOp {
	switch op {
	case ne:
		return libseccomp.CompareNotEqual
	case lt:
		return libseccomp.CompareLess
	case le:
		return libseccomp.CompareLessOrEqual
	case ge:
		return libseccomp.CompareGreaterEqual
	case gt:
		return libseccomp.CompareGreater
	case maskedEQ:
		return libseccomp.CompareMaskedEqual
	}
	return libseccomp.CompareEqual
}
