package seccomp

import (
	"runtime"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/trace"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Instruction is one instruction of classic BPF, struct sock_filter of
// linux/filter.h: Code, Jt, Jf and K, in the kernel's own layout.
type Instruction = unix.SockFilter

// Program is a compiled profile. It is plain data.
type Program struct {
	// Filter has between 1 and MaxInstructions instructions.
	Filter []Instruction
	// Flags are the SECCOMP_FILTER_FLAG_ bits to load the filter with;
	// NEW_LISTENER is among them when Notify is set.
	//
	// TSYNC never is: the filter is loaded by a thread that then calls
	// execve, which ends all others, so that every thread of the container
	// has the filter without it.
	Flags uint32
	// Notify says that the profile uses SCMP_ACT_NOTIFY, so that loading
	// returns a listener, which goes to ListenerPath.
	Notify bool
	// ListenerPath and ListenerMetadata are the profile's; both are empty
	// unless Notify is set.
	ListenerPath, ListenerMetadata string
}

// Fprog returns what seccomp(SECCOMP_SET_MODE_FILTER) takes a pointer to. It
// points into p, which must be kept alive until the call has returned.
func (p *Program) Fprog() unix.SockFprog {
	return unix.SockFprog{Len: uint16(len(p.Filter)), Filter: &p.Filter[0]}
}

// MaxInstructions is the most that the kernel takes in one filter, BPF_MAXINSNS
// of linux/bpf_common.h.
const MaxInstructions = 4096

// Env is what Compile must know of the host.
type Env struct {
	// Arch is the kernel's architecture as Go spells it (GOARCH); empty means
	// that of this binary.
	Arch string
	// Strict is whether a warning is wanted for all that has no effect: also
	// for names that are unknown where they would have allowed something.
	Strict bool
}

// Compile turns linux.seccomp into a program. It returns nil if s is nil, or
// if it added defects to d, each by its JSON path. The warnings are about what
// is skipped although it would have blocked something.
func Compile(s *specs.LinuxSeccomp, e Env, d *defect.List) (*Program, []string) {
	defer trace.Begin("compile the seccomp profile").End()
	return compile(s, e, d, generate)
}

// compile is Compile with a generator: gourd's or libseccomp's.
func compile(s *specs.LinuxSeccomp, e Env, d *defect.List, generate func(*profile, *defect.List) []Instruction) (*Program, []string) {
	if s == nil {
		return nil, nil
	}
	if e.Arch == "" {
		e.Arch = runtime.GOARCH
	}
	before := len(*d)
	p := check(s, e, d)
	if len(*d) > before {
		return nil, nil
	}
	filter := generate(p, d)
	if len(*d) > before {
		return nil, nil
	}
	prog := &Program{Filter: filter, Flags: p.flags, Notify: p.notify}
	if p.notify {
		prog.ListenerPath, prog.ListenerMetadata = s.ListenerPath, s.ListenerMetadata
	}
	return prog, p.warnings
}
