package plan

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

// direct.go: an exec without a Go program inside. The raw child that has joined
// the container's namespaces goes on with a table of system calls to the
// program's execve. Most execs can be done so; those that cannot, and those
// whose table fails, go the way of init (initproc/exec.go), whose order this is
// and which has the words for what went wrong.

// Direct is whether the process can be executed without a Go program inside.
func (e *Exec) Direct() bool {
	c := &e.Credentials
	switch {
	case e.Terminal: // takes a look at the container's devpts
		return false
	case c.SELinuxLabel != "": // the keyring is labelled too
		return false
	case e.Seccomp != nil && e.Seccomp.Notify: // the listener is to be sent
		return false
	case e.Landlock != nil: // paths are looked up
		return false
	case c.Capabilities.Inheritable&^c.Capabilities.Bounding != 0: // needs its order
		return false
	}
	return true
}

// DirectFiles are what the table of a direct exec needs beside the plan.
type DirectFiles struct {
	MountNS int    // the container's mount namespace
	Root    int    // the container's root, if Exec.Chroot
	Page    int    // a file of a page's size, for ReadDirect
	Proc    int    // the host's procfs, if there is an AppArmor profile
	Home    string // what HOME is; "" if it is in the environment
	Own     []int  // which of the fds 0 to 2 become the user's
}

// The page of a direct exec: two words that the child can store to also when a
// seccomp filter is loaded. It has them at pageAt, far from the stub.
const (
	pageAt    = 0x10000000
	pageSize  = 4096
	pageBegun = 0 // not 0: the program is being executed
	pageError = 8 // -errno of loading the filter or of the execve
	// PageWords is how many bytes of the page ReadDirect wants.
	PageWords = 16
)

// ReadDirect tells how a direct exec went whose child has executed its program
// or has ended: whether it came to the execve, and the errno of that, 0 for
// none.
func ReadDirect(page []byte) (begun bool, errno unix.Errno) {
	result := int64(binary.NativeEndian.Uint64(page[pageError:]))
	if result < 0 {
		errno = unix.Errno(-result)
	}
	return binary.NativeEndian.Uint64(page[pageBegun:]) != 0, errno
}

// AppendSteps appends the steps from the joined namespaces to the execve.
func (e *Exec) AppendSteps(t *nsenter.Tail, f DirectFiles) {
	d := direct{t: t, e: e, c: &e.Credentials}
	d.hostSide(f.Proc)
	t.Call("map the page", unix.SYS_MMAP, num(pageAt), num(pageSize), num(unix.PROT_READ|unix.PROT_WRITE),
		num(unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE), num(f.Page), num(0))
	t.Call("join the mount namespace", unix.SYS_SETNS, num(f.MountNS), num(unix.CLONE_NEWNS))
	if e.Chroot {
		t.Call("go to the container's root", unix.SYS_FCHDIR, num(f.Root))
		t.Call("change root to it", unix.SYS_CHROOT, t.String("."))
	}
	// From here on every path is the container's.
	d.root = t.Cell()
	t.Call("open the root directory", unix.SYS_OPENAT, num(unix.AT_FDCWD), t.String("/"), num(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)).Save = d.root
	t.Call("make a new session", unix.SYS_SETSID)
	for _, fd := range f.Own {
		t.Call("give a standard stream to the user", unix.SYS_FCHOWN, num(fd), id(e.Credentials.UID), num(-1)).Allow = nsenter.AnyErrno
	}
	d.scheduling()
	t.Call("set the umask", unix.SYS_UMASK, num(int(d.c.Umask)))
	entered := d.cwd()
	d.boundingSet()
	d.ids()
	capabilities(t.Table, d.c)
	d.cwdAgain(entered)
	if d.c.NoNewPrivileges {
		t.Call("set no_new_privs", unix.SYS_PRCTL, num(unix.PR_SET_NO_NEW_PRIVS), num(1), num(0), num(0), num(0))
	}
	d.limits()
	d.execute(f.Home)
}

// num and id shorten the tables.
func num(n int) nsenter.Arg { return nsenter.Num(n) }

func id(n uint32) nsenter.Arg { return nsenter.Num(int(n)) }

// direct appends the steps of an exec.
type direct struct {
	t    *nsenter.Tail
	e    *Exec
	c    *credentials.Plan
	root nsenter.Arg // where the fd of the container's root is
}

// hostSide is what needs the host's /proc or its rights.
func (d *direct) hostSide(proc int) {
	if name := d.c.Keyring; name != "" {
		// Init made it and its permissions. ENOSYS: a kernel without keyrings.
		d.t.Call("join the session keyring", unix.SYS_KEYCTL, num(unix.KEYCTL_JOIN_SESSION_KEYRING), d.t.String(name)).Allow =
			nsenter.Errnos(unix.ENOSYS)
	}
	if cpus := d.e.CPUs; cpus != nil {
		d.t.Call("set the CPUs to run on", unix.SYS_SCHED_SETAFFINITY, num(0), num(8*len(cpus)), d.bits(cpus))
	}
	if profile := d.c.AppArmorProfile; profile != "" {
		text := "exec " + profile
		fd := d.t.Cell()
		how := d.t.Words(uint64(unix.O_WRONLY|unix.O_CLOEXEC), 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV)
		d.t.Call("open the exec attribute of AppArmor", unix.SYS_OPENAT2, num(proc),
			d.t.String("thread-self/attr/apparmor/exec"), how, num(unix.SizeofOpenHow)).Save = fd
		d.t.Call("set the AppArmor profile "+profile, unix.SYS_WRITE, fd.Value(), d.t.Bytes(text), num(len(text)))
	}
}

// bits puts a set of numbers where the kernel reads it.
func (d *direct) bits(set *unix.CPUSet) nsenter.Arg {
	words := make([]uint64, len(set))
	for i := range set {
		words[i] = uint64(set[i])
	}
	return d.t.Words(words...)
}

// scheduling is credentials.Plan.setScheduling.
func (d *direct) scheduling() {
	if s := d.c.Scheduler; s != nil && !d.c.FromOutside {
		const size = 48 // struct sched_attr, without the clamps (sched_setattr(2))
		attr := d.t.Words(size|uint64(s.Policy)<<32, s.Flags, uint64(uint32(s.Nice))|uint64(s.Priority)<<32, s.Runtime, s.Deadline, s.Period)
		d.t.Call("set the scheduler", unix.SYS_SCHED_SETATTR, num(0), attr, num(0))
	}
	if io := d.c.IOPriority; io != nil && !d.c.FromOutside {
		const whoProcess, classShift = 1, 13 // ioprio_set(2)
		d.t.Call("set the I/O priority", unix.SYS_IOPRIO_SET, num(whoProcess), num(0), num(io.Class<<classShift|io.Level))
	}
	if p := d.c.Personality; p != nil {
		d.t.Call("set the personality", unix.SYS_PERSONALITY, id(*p))
	}
	if m := d.c.MemoryPolicy; m != nil {
		nodes, size := num(0), num(0)
		if m.Nodes != nil {
			nodes, size = d.bits(m.Nodes), num(credentials.MaxNode)
		}
		d.t.Call("set the memory policy", unix.SYS_SET_MEMPOLICY, id(m.Mode), nodes, size)
	}
}

// openInRoot opens a path as linux.OpenInRoot does.
func (d *direct) openInRoot(why, path string, flags int) *nsenter.Step {
	how := d.t.Words(uint64(flags|unix.O_CLOEXEC), 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	return d.t.Call(why, unix.SYS_OPENAT2, d.root.Value(), d.t.String(path), how, num(unix.SizeofOpenHow))
}

// cwd enters the working directory, if the present credentials may. The word
// that it returns is 0 if it did.
func (d *direct) cwd() (entered nsenter.Arg) {
	entered = d.t.Words(1)
	fd := d.t.Cell()
	s := d.openInRoot("open the working directory", d.c.Cwd, unix.O_PATH|unix.O_DIRECTORY)
	s.Save, s.Allow = fd, nsenter.Errnos(unix.EACCES, unix.EPERM)
	s.Target = len(d.t.Steps) + 1
	s = d.t.Call("enter the working directory", unix.SYS_FCHDIR, fd.Value())
	s.Save, s.Allow = entered, nsenter.Errnos(unix.EACCES, unix.EPERM)
	return entered
}

// cwdAgain enters the working directory as the user, if that is still to be
// done, and checks by the kernel's own account that it is in the root.
func (d *direct) cwdAgain(entered nsenter.Arg) {
	d.t.SkipIf(entered, 0, 2)
	fd := d.t.Cell()
	d.openInRoot("open the working directory", d.c.Cwd, unix.O_PATH|unix.O_DIRECTORY).Save = fd
	d.t.Call("enter the working directory", unix.SYS_FCHDIR, fd.Value())
	path := make([]uint64, unix.PathMax/8)
	buf := d.t.Words(path...)
	d.t.Call("get the working directory", unix.SYS_GETCWD, buf, num(unix.PathMax))
	// getcwd(2): "(unreachable)" is before the path of one that is not in it.
	good := d.t.Add(nsenter.Step{Kind: nsenter.Jump, Args: [6]nsenter.Arg{buf, num(int(binary.LittleEndian.Uint64([]byte("(unreach"))))}})
	d.t.SkipIf(d.t.Cell(), 0, 1) // always: what follows is for the jump
	d.t.Steps[good].Target = len(d.t.Steps)
	d.fail("stay in the container's root")
}

// fail appends a step that fails.
func (d *direct) fail(why string) {
	d.t.Call(why, unix.SYS_CLOSE, num(-1))
}

// boundingSet drops what is not to be in the bounding set, while CAP_SETPCAP is
// there. What is not there to be dropped is no failure.
func (d *direct) boundingSet() {
	for n := 0; n <= d.c.Capabilities.LastCap; n++ {
		if d.c.Capabilities.Bounding&(1<<n) == 0 {
			d.t.Call("drop a capability from the bounding set", unix.SYS_PRCTL, num(unix.PR_CAPBSET_DROP), num(n), num(0), num(0), num(0))
		}
	}
}

// ids sets groups, group ids and user ids, and keeps the permitted capabilities.
func (d *direct) ids() {
	d.t.Call("keep the capabilities", unix.SYS_PRCTL, num(unix.PR_SET_KEEPCAPS), num(1), num(0), num(0), num(0))
	if !d.c.SetgroupsDenied || len(d.c.Groups) > 0 {
		var b []byte
		for _, g := range d.c.Groups {
			b = binary.NativeEndian.AppendUint32(b, g)
		}
		s := d.t.Call("set the groups", unix.SYS_SETGROUPS, num(len(d.c.Groups)), d.t.Bytes(string(b)))
		if d.c.UserNS && len(d.c.Groups) == 0 {
			s.Allow = nsenter.Errnos(unix.EPERM) // that namespace denies it
		}
	}
	d.t.Call("set the group ids", unix.SYS_SETRESGID, id(d.c.GID), id(d.c.GID), id(d.c.GID))
	d.t.Call("set the user ids", unix.SYS_SETRESUID, id(d.c.UID), id(d.c.UID), id(d.c.UID))
	d.t.Call("stop keeping the capabilities", unix.SYS_PRCTL, num(unix.PR_SET_KEEPCAPS), num(0), num(0), num(0), num(0))
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
func (d *direct) limits() {
	hasNofile := false
	for _, r := range d.c.Rlimits {
		hasNofile = hasNofile || r.Resource == unix.RLIMIT_NOFILE
		d.t.Call("set a limit", unix.SYS_PRLIMIT64, num(0), num(r.Resource), d.t.Words(r.Soft, r.Hard), num(0))
	}
	if !hasNofile {
		d.t.RestoreNofile()
	}
}

// execute looks for the program as credentials.Plan.Resolve does, and executes
// the first that there is.
func (d *direct) execute(home string) {
	env := d.c.Env
	if home != "" {
		env = append(env[:len(env):len(env)], "HOME="+home)
	}
	argv, envp := d.t.Strings(d.c.Args), d.t.Strings(env)
	filter := filterProgram(d.t.Table, d.e.Seccomp)
	for _, path := range d.c.Candidates() {
		d.try(path, argv, envp, filter)
	}
	d.fail("find the program " + d.c.Args[0])
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

// try appends the execution of the file at path, if it may be executed.
func (d *direct) try(path string, argv, envp, filter nsenter.Arg) {
	seen := path
	if !strings.HasPrefix(path, "/") {
		seen = d.c.Cwd + "/" + path
	}
	fd := d.t.Cell()
	look := len(d.t.Steps)
	d.openInRoot("look for "+path, seen, unix.O_PATH).Save = fd // no magic links: /proc/self/exe is the stub
	may := len(d.t.Steps)
	d.t.Call("ask whether "+path+" may be executed", unix.SYS_FACCESSAT2, fd.Value(), d.t.String(""), num(unix.X_OK), num(unix.AT_EACCESS|unix.AT_EMPTY_PATH))
	d.t.Call("say that the program is executed", unix.SYS_GETTID).Save = num(pageAt + pageBegun)
	d.t.RestoreMask()
	if filter != (nsenter.Arg{}) {
		d.t.Call("load the seccomp filter", unix.SYS_SECCOMP, num(unix.SECCOMP_SET_MODE_FILTER), num(int(d.e.Seccomp.Flags)), filter).Save =
			num(pageAt + pageError)
	}
	d.t.Call("execute "+path, unix.SYS_EXECVE, d.t.String(path), argv, envp).Save = num(pageAt + pageError)
	for _, i := range [...]int{look, may} {
		s := &d.t.Steps[i]
		s.Allow, s.Target = nsenter.Errnos(unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.ELOOP), len(d.t.Steps)
	}
}
