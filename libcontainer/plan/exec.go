package plan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/landlock"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/seccomp"
)

// ForExec is what create knew of the container and exec needs: neither is the
// config read again, for it may have changed, nor the seccomp profile compiled
// again.
type ForExec struct {
	ID           string
	Process      specs.Process // the container's own
	Namespaces   uint64        // CLONE_NEW* flags of those that it has, made or joined
	NewUserNS    bool          // its user namespace was made for it, with these mappings
	UIDMappings  []specs.LinuxIDMapping
	GIDMappings  []specs.LinuxIDMapping
	NoSetgroups  bool // its user namespace was made without setgroups(2)
	Chroot       bool // its root is not that of its mount namespace
	NoNewKeyring bool
	Personality  *specs.LinuxPersonality
	MemoryPolicy *specs.LinuxMemoryPolicy
	Seccomp      *seccomp.Program
	Landlock     *landlock.Plan
	Checkpoint   ForCheckpoint
}

// ForCheckpoint is what checkpoint needs. It is kept with what exec needs, to
// make no third file, which every create would pay for.
type ForCheckpoint struct {
	External rootfs.External
	Joined   []Joined // the namespaces that were joined
	Stdio    []string // what init was given, as /proc shows it, such as "pipe:[1234]"
}

// Joined is a namespace that was joined: its type, as the kernel calls it in
// /proc/PID/ns, and its file.
type Joined struct{ Type, Path string }

// forExec picks what exec needs, and checkpoint.
func forExec(s *specs.Spec, e *Enter, in *Init, o *Options) ForExec {
	k := ForExec{
		ID:           o.ID,
		Process:      *s.Process,
		Namespaces:   uint64(e.New),
		NewUserNS:    e.New&unix.CLONE_NEWUSER != 0,
		UIDMappings:  s.Linux.UIDMappings,
		GIDMappings:  s.Linux.GIDMappings,
		Chroot:       in.Rootfs.Shared,
		NoSetgroups:  in.Credentials.SetgroupsDenied,
		NoNewKeyring: o.NoNewKeyring,
		Personality:  s.Linux.Personality,
		MemoryPolicy: s.Linux.MemoryPolicy,
		Seccomp:      in.Seccomp,
		Landlock:     in.Landlock,
	}
	k.Checkpoint = ForCheckpoint{External: in.Rootfs.External(), Joined: e.Joined()}
	for i := range e.Join {
		k.Namespaces |= uint64(e.Join[i].Flag)
	}
	return k
}

// instructionSize is the size of a struct sock_filter.
const instructionSize = 8

// Marshal returns k for the disk. It is JSON, which another version of gourd
// can read too, and behind its newline the instructions of the filter as the
// kernel takes them, which would be most of the text.
func (k *ForExec) Marshal() ([]byte, error) {
	var code []seccomp.Instruction
	head := *k
	if k.Seccomp != nil {
		short := *k.Seccomp
		code, short.Filter = short.Filter, nil
		head.Seccomp = &short
	}
	data, err := spec.Encode(&head)
	if err != nil {
		return nil, fmt.Errorf("encode what exec needs: %w", err)
	}
	data = append(slices.Grow(data, 1+len(code)*instructionSize), '\n')
	for _, in := range code {
		data = binary.NativeEndian.AppendUint16(data, in.Code)
		data = append(data, in.Jt, in.Jf)
		data = binary.NativeEndian.AppendUint32(data, in.K)
	}
	return data, nil
}

// Unmarshal reads what Marshal wrote.
func (k *ForExec) Unmarshal(data []byte) error {
	head, code, ok := bytes.Cut(data, []byte{'\n'})
	if !ok {
		return errors.New("decode what exec needs: it is cut off")
	}
	if err := spec.DecodeInto(head, k); err != nil {
		return fmt.Errorf("decode what exec needs: %w", spec.In("process", err))
	}
	if (len(code) > 0) != (k.Seccomp != nil) || len(code)%instructionSize != 0 {
		return fmt.Errorf("decode what exec needs: %d bytes are no seccomp filter", len(code))
	}
	if k.Seccomp != nil {
		k.Seccomp.Filter = make([]seccomp.Instruction, 0, len(code)/instructionSize)
	}
	for ; len(code) > 0; code = code[instructionSize:] {
		k.Seccomp.Filter = append(k.Seccomp.Filter, seccomp.Instruction{
			Code: binary.NativeEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.NativeEndian.Uint32(code[4:]),
		})
	}
	return nil
}

// Exec is what init gets to know and to do for an exec: plain data that
// protocol sends.
type Exec struct {
	Credentials   credentials.Plan
	Terminal      bool
	ConsoleHeight uint
	ConsoleWidth  uint
	Chroot        bool // the root comes with the plan: the mount namespace has another
	Await         bool // wait for Go before the execve: the runtime has something left to do
	PreserveFDs   int
	Seccomp       *seccomp.Program
	Landlock      *landlock.Plan
	// AgentMessage is Init's, for this process.
	AgentMessage []byte
	// CPUs is the affinity of the process; nil keeps what init was born with.
	CPUs *unix.CPUSet
}

// ExecPlan is all that gourd will do for an exec.
type ExecPlan struct {
	Namespaces  uintptr      // CLONE_NEW* flags of those to join, without the mount namespace
	InitialCPUs *unix.CPUSet // the affinity to be born with; nil: gourd's
	Exec        Exec
	Warnings    []string
}

// ExecOptions is what the command line says of an exec beyond its process.
type ExecOptions struct {
	PreserveFDs int
	Await       bool
	// Strict is --strict, or the container's annotation: what is ignored is a
	// defect. Raw is the JSON that the process was decoded from; nil if it
	// comes from flags.
	Strict bool
	Raw    []byte
}

// BuildExec returns the plan for the process p in the container of k. What p
// does not say is as with the container's own process, where other runtimes
// have it so: capabilities, labels, rlimits, oom score, scheduling.
func (k *ForExec) BuildExec(process *specs.Process, facts *host.Facts, o ExecOptions) (*ExecPlan, error) {
	var d defect.List
	p := k.withDefaults(process)
	spec.CheckProcess(&p, &d)
	e := &ExecPlan{Namespaces: uintptr(k.Namespaces &^ unix.CLONE_NEWNS)}
	in := &e.Exec
	in.Credentials, e.Warnings = credentials.Compile(&p,
		&specs.Spec{Linux: &specs.Linux{
			UIDMappings: k.UIDMappings, GIDMappings: k.GIDMappings, Personality: k.Personality, MemoryPolicy: k.MemoryPolicy,
		}},
		credentials.Env{
			Bounding:        facts.Bounding,
			LastCap:         facts.LastCap,
			AppArmor:        facts.AppArmor,
			SELinux:         facts.SELinux,
			UnknownLabels:   facts.UnknownContexts,
			NewUserNS:       k.NewUserNS,
			Root:            facts.EUID == 0,
			JoinedUserNS:    !k.NewUserNS && k.Namespaces&unix.CLONE_NEWUSER != 0,
			SetgroupsDenied: k.NoSetgroups,
			HasSeccomp:      k.Seccomp != nil,
			Landlock:        landlockFrom(k.Landlock),
			ID:              k.ID,
			NoNewKeyring:    k.NoNewKeyring,
		}, &d)
	in.Terminal = p.Terminal
	if size := p.ConsoleSize; size != nil && p.Terminal {
		in.ConsoleHeight, in.ConsoleWidth = size.Height, size.Width
	}
	in.Await = o.Await || in.Credentials.FromOutside
	in.Chroot = k.Chroot
	in.PreserveFDs = o.PreserveFDs
	in.Seccomp, in.Landlock = k.Seccomp, k.Landlock
	e.InitialCPUs, in.CPUs = affinity(p.ExecCPUAffinity)
	if o.Strict {
		if o.Raw != nil {
			spec.Skipped(o.Raw, new(specs.Process), "process.", &d)
			spec.UnusedOfProcess(process, &d)
		}
		refuse(e.Warnings, &d)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return e, nil
}

// withDefaults returns p with what it does not say from the container's own
// process.
func (k *ForExec) withDefaults(p *specs.Process) specs.Process {
	out := *p
	own := &k.Process
	if out.Capabilities == nil {
		out.Capabilities = own.Capabilities
	}
	if out.ApparmorProfile == "" {
		out.ApparmorProfile = own.ApparmorProfile
	}
	if out.SelinuxLabel == "" {
		out.SelinuxLabel = own.SelinuxLabel
	}
	if len(out.Rlimits) == 0 {
		out.Rlimits = own.Rlimits
	}
	if out.OOMScoreAdj == nil {
		out.OOMScoreAdj = own.OOMScoreAdj
	}
	if out.Scheduler == nil {
		out.Scheduler = own.Scheduler
	}
	if out.IOPriority == nil {
		out.IOPriority = own.IOPriority
	}
	if out.ExecCPUAffinity == nil {
		out.ExecCPUAffinity = own.ExecCPUAffinity
	}
	return out
}

// affinity returns the CPUs to be born with and those to be run on. Without
// execCPUAffinity the process is to have all that its cgroup allows, whatever
// gourd was started with, as init has. What is wrong CheckProcess has said.
func affinity(a *specs.CPUAffinity) (initial, final *unix.CPUSet) {
	if a == nil {
		all := new(unix.CPUSet)
		all.Fill()
		return nil, all
	}
	initial, _ = spec.CPUs(a.Initial)
	final, _ = spec.CPUs(a.Final)
	return initial, final
}
