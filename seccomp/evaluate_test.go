package seccomp

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// evaluate_test.go: what a profile means, read straight from the OCI types and
// the package comment, without any of the compiler's steps. It is the second
// oracle: slow, simple, and independent of instructions and order of compiling.

// oracle is a profile on the architectures of a filter.
type oracle struct {
	def   uint32
	tail  bool
	archs []int // places in abis
	calls map[int]map[uint32][]*matched
	last  map[int]int64
}

// matched is a rule, and when it holds.
type matched struct {
	args   []specs.LinuxSeccompArg // all must hold
	action uint32
}

// newOracle reads a profile.
func newOracle(s *specs.LinuxSeccomp, archs []int) *oracle {
	o := &oracle{
		def: ociAction(s.DefaultAction, s.DefaultErrnoRet), archs: archs,
		calls: map[int]map[uint32][]*matched{}, last: map[int]int64{},
	}
	switch o.def & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
	default:
		o.tail = true
	}
	index := map[string]int{}
	for i := range numNames {
		index[nameAt(i)] = i
	}
	for _, n := range archs {
		a := &abis[n]
		o.calls[n], o.last[n] = map[uint32][]*matched{}, -1
		for _, c := range s.Syscalls {
			action := ociAction(c.Action, c.ErrnoRet)
			for _, name := range c.Names {
				i, ok := index[name]
				if !ok {
					continue
				}
				if slot := a.slots[i]; slot != 0 {
					o.add(n, a.number(int(slot-1)), action, split(c.Args))
				}
				if number, sub, ok := multiplexed(a, name); ok {
					rules := split(c.Args)
					for i, r := range rules {
						with := []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo, Value: sub}}
						for _, x := range r {
							if x.Index != 0 {
								with = append(with, x)
							}
						}
						rules[i] = with
					}
					o.add(n, number, action, rules)
				}
			}
		}
	}
	return o
}

// add notes that an entry names a number of architecture n.
func (o *oracle) add(n int, number, action uint32, rules [][]specs.LinuxSeccompArg) {
	if n != abiARM || number < 0xf0000 {
		o.last[n] = max(o.last[n], int64(number))
	}
	if action == o.def {
		return
	}
	for _, r := range rules {
		o.calls[n][number] = append(o.calls[n][number], &matched{cut(&abis[n], r), action})
	}
}

// split returns the rules that an entry's arguments make.
func split(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	count := map[uint]int{}
	for _, x := range args {
		count[x.Index]++
	}
	if len(count) == len(args) {
		return [][]specs.LinuxSeccompArg{args}
	}
	var rules [][]specs.LinuxSeccompArg
	for _, x := range args {
		rules = append(rules, []specs.LinuxSeccompArg{x})
	}
	return rules
}

// evaluate returns the verdict on one call.
func (o *oracle) evaluate(audit, number uint32, args [6]uint64) uint32 {
	n := o.callee(audit, number)
	if n < 0 {
		if number == 0xffffffff && o.callee(audit, 0) >= 0 {
			return o.def
		}
		return unix.SECCOMP_RET_KILL_THREAD
	}
	a := &abis[n]
	if o.tail && o.last[n] >= 0 && a.name == "SCMP_ARCH_S390X" && number == 0 {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	var best *matched
	for _, m := range o.calls[n][number] {
		if len(m.args) == 0 {
			return m.action
		}
	}
	for _, m := range o.calls[n][number] {
		if holdsAll(a, m.args, args) && (best == nil || before(m, best)) {
			best = m
		}
	}
	switch {
	case best != nil:
		return best.action
	case o.tail && o.last[n] >= 0 && int64(number) > o.last[n] && (n != abiARM || number < 0xf0000):
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return o.def
}

// callee returns the architecture that a call belongs to, -1 if none.
func (o *oracle) callee(audit, number uint32) int {
	for _, i := range o.archs {
		a := &abis[i]
		if a.audit != audit {
			continue
		}
		if audit == unix.AUDIT_ARCH_X86_64 && (number >= 0x40000000) != (a.name == "SCMP_ARCH_X32") {
			continue
		}
		return i
	}
	return -1
}

// multiplexed returns socketcall's or ipc's number and the sub-call's.
func multiplexed(a *abi, name string) (number uint32, sub uint64, ok bool) {
	base := uint32(0)
	switch {
	case a.name == "SCMP_ARCH_MIPS", a.name == "SCMP_ARCH_MIPSEL":
		base = 4000
	case a.name == "SCMP_ARCH_X86", strings.HasPrefix(a.name, "SCMP_ARCH_PPC"), a.name == "SCMP_ARCH_S390X":
	default:
		return 0, 0, false
	}
	socket := "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom " +
		"shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
	for i, n := range strings.Fields(socket) {
		if n == name {
			return base + 102, uint64(i + 1), true
		}
	}
	ipc := "- semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt shmget shmctl"
	for i, n := range strings.Fields(ipc) {
		if n == name {
			return base + 117, uint64(i), true
		}
	}
	return 0, 0, false
}

// cut drops what always holds and orders by argument.
func cut(a *abi, rule []specs.LinuxSeccompArg) []specs.LinuxSeccompArg {
	var out []specs.LinuxSeccompArg
	for index := range uint(6) {
		for _, x := range rule {
			if x.Index != index {
				continue
			}
			if !a.wide {
				x.Value, x.ValueTwo = x.Value&0xffffffff, x.ValueTwo&0xffffffff
			}
			if x.Op == specs.OpMaskedEqual {
				if x.Value == 0 {
					continue
				}
				x.ValueTwo &= x.Value
			} else {
				x.ValueTwo = 0
			}
			out = append(out, x)
		}
	}
	return out
}

func holdsAll(a *abi, rule []specs.LinuxSeccompArg, args [6]uint64) bool {
	for _, x := range rule {
		v := args[x.Index]
		if !a.wide {
			v &= 0xffffffff
		}
		ok := false
		switch x.Op {
		case specs.OpEqualTo:
			ok = v == x.Value
		case specs.OpNotEqual:
			ok = v != x.Value
		case specs.OpLessThan:
			ok = v < x.Value
		case specs.OpLessEqual:
			ok = v <= x.Value
		case specs.OpGreaterThan:
			ok = v > x.Value
		case specs.OpGreaterEqual:
			ok = v >= x.Value
		case specs.OpMaskedEqual:
			ok = v&x.Value == x.ValueTwo
		}
		if !ok {
			return false
		}
	}
	return true
}

// before tells whether m is tried before n, which stands earlier in the profile.
func before(m, n *matched) bool {
	for i := range min(len(m.args), len(n.args)) {
		a, b := m.args[i], n.args[i]
		if a.Index != b.Index {
			return a.Index > b.Index
		}
		class := func(x specs.LinuxSeccompArg) int {
			switch x.Op {
			case specs.OpLessThan, specs.OpLessEqual:
				return 1
			case specs.OpGreaterThan, specs.OpGreaterEqual:
				return 2
			}
			return 0
		}
		if class(a) != class(b) {
			return class(a) < class(b)
		}
		datum := func(x specs.LinuxSeccompArg) uint64 {
			if x.Op == specs.OpMaskedEqual {
				return x.ValueTwo
			}
			return x.Value
		}
		if datum(a) != datum(b) {
			smaller := datum(a) < datum(b)
			return smaller == (class(a) == 1)
		}
	}
	return len(m.args) < len(n.args)
}

// ociAction returns what the kernel's filter returns for an action.
func ociAction(a specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(1)
	if errno != nil {
		data = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return 0x00000000
	case specs.ActKillProcess:
		return 0x80000000
	case specs.ActTrap:
		return 0x00030000
	case specs.ActErrno:
		return 0x00050000 | data
	case specs.ActNotify:
		return 0x7fc00000
	case specs.ActTrace:
		return 0x7ff00000 | data
	case specs.ActLog:
		return 0x7ffc0000
	case specs.ActAllow:
		return 0x7fff0000
	}
	panic("action " + a)
}
