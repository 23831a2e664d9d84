package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

// credentials_steps.go: what the methods of credentials.Plan do to a thread, for
// a child that is a table. The order is theirs, and its reasons are there.

// credSteps appends the steps.
type credSteps struct {
	*steps
	c *credentials.Plan
}

// ordinary is whether the table can set these capabilities, whose inheritable set
// is no larger than the bounding one: otherwise that needs an order of its own.
func ordinary(c *credentials.Plan) bool {
	return c.Capabilities.Inheritable&^c.Capabilities.Bounding == 0
}

// apply is credentials.Plan.Apply.
func (d credSteps) apply() {
	d.scheduling()
	d.Call("set the umask", unix.SYS_UMASK, num(int(d.c.Umask)))
	entered := d.cwd()
	d.boundingSet()
	d.ids()
	capabilities(d.Table, d.c)
	d.cwdAgain(entered)
	if d.c.NoNewPrivileges {
		d.Call("process.noNewPrivileges", unix.SYS_PRCTL, num(unix.PR_SET_NO_NEW_PRIVS), num(1), num(0), num(0), num(0))
	}
}

// Of the label that the next execve gives, which is set through a procfs.
const openExecAttr = "open the exec attribute of AppArmor"

func writeExecAttr(profile string) string { return "set the AppArmor profile " + profile }

// appArmorProfile is what credentials.Plan.ExecLabels does for AppArmor. The directory
// apparmor is there since Linux 5.8; for an older kernel the step fails.
func (d credSteps) appArmorProfile(proc nsenter.Arg) {
	profile := d.c.AppArmorProfile
	text := "exec " + profile
	fd := d.Cell()
	// Not beneath, for thread-self is a symlink.
	d.open(openExecAttr, proc, "thread-self/attr/apparmor/exec", unix.O_WRONLY, beneath&^unix.RESOLVE_NO_SYMLINKS).Save = fd
	d.Call(writeExecAttr(profile), unix.SYS_WRITE, fd.Value(), d.Bytes(text), num(len(text)))
}

// bits puts a set of numbers where the kernel reads it.
func (d credSteps) bits(set *unix.CPUSet) nsenter.Arg {
	words := make([]uint64, len(set))
	for i := range set {
		words[i] = uint64(set[i])
	}
	return d.Words(words...)
}

// scheduling is credentials.Plan.setScheduling.
func (d credSteps) scheduling() {
	if s := d.c.Scheduler; s != nil && !d.c.FromOutside {
		const size = 56 // struct sched_attr, the clamps too, which are 0 (sched_setattr(2))
		attr := d.Words(size|uint64(s.Policy)<<32, s.Flags, uint64(uint32(s.Nice))|uint64(s.Priority)<<32, s.Runtime, s.Deadline, s.Period, 0)
		d.Call(fmt.Sprintf("process.scheduler: set policy %d, flags %#x, nice %d, priority %d", s.Policy, s.Flags, s.Nice, s.Priority),
			unix.SYS_SCHED_SETATTR, num(0), attr, num(0))
	}
	if io := d.c.IOPriority; io != nil && !d.c.FromOutside {
		const whoProcess, classShift = 1, 13 // ioprio_set(2)
		d.Call(fmt.Sprintf("process.ioPriority: set class %d, priority %d", io.Class, io.Level), unix.SYS_IOPRIO_SET, num(whoProcess), num(0), num(io.Class<<classShift|io.Level))
	}
	if p := d.c.Personality; p != nil {
		d.Call(fmt.Sprintf("linux.personality: set %#x", *p), unix.SYS_PERSONALITY, id(*p))
	}
	if m := d.c.MemoryPolicy; m != nil {
		nodes, size := num(0), num(0)
		if m.Nodes != nil {
			nodes, size = d.bits(m.Nodes), num(credentials.MaxNode)
		}
		d.Call(memoryPolicyWhy(m), unix.SYS_SET_MEMPOLICY, id(m.Mode), nodes, size)
	}
}

func memoryPolicyWhy(m *credentials.MemoryPolicy) string {
	return fmt.Sprintf("linux.memoryPolicy: set mode %#x", m.Mode)
}

// What the steps to the working directory are for.
const (
	openCwd    = "open the working directory"
	enterCwd   = "enter the working directory"
	stayInRoot = "stay in the container's root"
)

// cwd enters the working directory, if the present credentials may. The word
// that it returns is 0 if it did.
func (d credSteps) cwd() (entered nsenter.Arg) {
	entered = d.Words(1)
	fd := d.Cell()
	s := d.openInRoot(openCwd, d.c.Cwd, unix.O_PATH|unix.O_DIRECTORY)
	s.Save, s.Allow = fd, nsenter.Errnos(unix.EACCES, unix.EPERM)
	s.Target = len(d.Steps) + 1
	s = d.Call(enterCwd, unix.SYS_FCHDIR, fd.Value())
	s.Save, s.Allow = entered, nsenter.Errnos(unix.EACCES, unix.EPERM)
	return entered
}

// cwdAgain enters the working directory as the user, if that is still to be
// done, and checks by the kernel's own account that it is in the root.
func (d credSteps) cwdAgain(entered nsenter.Arg) {
	d.SkipIf(entered, 0, 2)
	fd := d.Cell()
	d.openInRoot(openCwd, d.c.Cwd, unix.O_PATH|unix.O_DIRECTORY).Save = fd
	d.Call(enterCwd, unix.SYS_FCHDIR, fd.Value())
	path := make([]uint64, unix.PathMax/8)
	buf := d.Words(path...)
	d.Call("get the working directory", unix.SYS_GETCWD, buf, num(unix.PathMax))
	// getcwd(2): "(unreachable)" is before the path of one that is not in it.
	good := d.Add(nsenter.Step{Kind: nsenter.Jump, Args: [6]nsenter.Arg{buf, num(int(binary.LittleEndian.Uint64([]byte("(unreach"))))}})
	d.SkipIf(d.Cell(), 0, 1) // always: what follows is for the jump
	d.Steps[good].Target = len(d.Steps)
	d.fail(stayInRoot)
}

// boundingSet drops what is not to be in the bounding set, while CAP_SETPCAP is
// there. What is not there to be dropped is no failure.
func (d credSteps) boundingSet() {
	for n := 0; n <= d.c.Capabilities.LastCap; n++ {
		if d.c.Capabilities.Bounding&(1<<n) == 0 {
			d.Call("drop a capability from the bounding set", unix.SYS_PRCTL, num(unix.PR_CAPBSET_DROP), num(n), num(0), num(0), num(0))
		}
	}
}

// ids sets groups, group ids and user ids, and keeps the permitted capabilities.
func (d credSteps) ids() {
	d.Call("keep the capabilities", unix.SYS_PRCTL, num(unix.PR_SET_KEEPCAPS), num(1), num(0), num(0), num(0))
	if !d.c.SetgroupsDenied || len(d.c.Groups) > 0 {
		var b []byte
		for _, g := range d.c.Groups {
			b = binary.NativeEndian.AppendUint32(b, g)
		}
		s := d.Call("process.user.additionalGids: set the groups", unix.SYS_SETGROUPS, num(len(d.c.Groups)), d.Bytes(string(b)))
		if d.c.UserNS && len(d.c.Groups) == 0 {
			s.Allow = nsenter.Errnos(unix.EPERM) // that namespace denies it
		}
	}
	d.Call("process.user.gid: set gid "+strconv.FormatUint(uint64(d.c.GID), 10), unix.SYS_SETRESGID, id(d.c.GID), id(d.c.GID), id(d.c.GID))
	d.Call("process.user.uid: set uid "+strconv.FormatUint(uint64(d.c.UID), 10), unix.SYS_SETRESUID, id(d.c.UID), id(d.c.UID), id(d.c.UID))
	d.Call("stop keeping the capabilities", unix.SYS_PRCTL, num(unix.PR_SET_KEEPCAPS), num(0), num(0), num(0), num(0))
}

// capabilities sets the sets of capset(2) exactly, and then the ambient one.
func capabilities(t *nsenter.Table, p *credentials.Plan) {
	c := p.Capabilities
	if p.KeepSysAdmin {
		c.Permitted |= 1 << unix.CAP_SYS_ADMIN
		c.Effective |= 1 << unix.CAP_SYS_ADMIN
	}
	half := func(shift int) (lo, hi uint64) {
		e, p, i := c.Effective>>shift&(1<<32-1), c.Permitted>>shift&(1<<32-1), c.Inheritable>>shift&(1<<32-1)
		return e | p<<32, i
	}
	ep0, i0 := half(0)
	ep1, i1 := half(32)
	// struct __user_cap_data_struct[2]: effective, permitted, inheritable, of
	// the first 32 and then of the others.
	sets := t.Words(ep0, i0|ep1<<32, ep1>>32|i1<<32)
	t.Call("set the capabilities", unix.SYS_CAPSET, t.Words(unix.LINUX_CAPABILITY_VERSION_3), sets)
	t.Call("clear the ambient capabilities", unix.SYS_PRCTL, num(unix.PR_CAP_AMBIENT), num(unix.PR_CAP_AMBIENT_CLEAR_ALL), num(0), num(0), num(0))
	for n := 0; n <= c.LastCap; n++ {
		if c.Ambient&(1<<n) != 0 {
			t.Call("raise an ambient capability", unix.SYS_PRCTL, num(unix.PR_CAP_AMBIENT), num(unix.PR_CAP_AMBIENT_RAISE), num(n), num(0), num(0))
		}
	}
}

// limits is credentials.Plan.LowerLimits.
func (d credSteps) limits() {
	hasNofile := false
	for _, r := range d.c.Rlimits {
		hasNofile = hasNofile || r.Resource == unix.RLIMIT_NOFILE
		d.Call(fmt.Sprintf("process.rlimits[%d]: set soft %s, hard %s", r.Index, credentials.Limit(r.Soft), credentials.Limit(r.Hard)), unix.SYS_PRLIMIT64,
			num(0), num(r.Resource), d.Words(r.Soft, r.Hard), num(0))
	}
	if !hasNofile {
		d.RestoreNofile()
	}
}

// filterProgram stores a filter as seccomp(2) takes it. A nil one has the zero
// value.
func filterProgram(t *nsenter.Table, p *seccomp.Program) (prog nsenter.Arg) {
	if p == nil {
		return prog
	}
	var code []byte
	for _, in := range p.Filter {
		code = binary.NativeEndian.AppendUint16(code, in.Code)
		code = append(code, in.Jt, in.Jf)
		code = binary.NativeEndian.AppendUint32(code, in.K)
	}
	prog = t.Words(uint64(len(p.Filter)), 0) // struct sock_fprog
	t.Point(prog, 1, t.Bytes(string(code)))
	return prog
}
