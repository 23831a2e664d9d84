package plan

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
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
	case !ordinary(c):
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
	d := direct{credSteps{newSteps(t), &e.Credentials}, e}
	d.hostSide(f.Proc)
	mapPage(t.Table, f.Page, pageSize)
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
	d.apply()
	d.limits()
	d.execute(f.Home)
}

// direct appends the steps of an exec.
type direct struct {
	credSteps
	e *Exec
}

// hostSide is what needs the host's /proc or its rights.
func (d direct) hostSide(proc int) {
	if name := d.c.Keyring; name != "" {
		// Init made it and its permissions. ENOSYS: a kernel without keyrings.
		d.Call("join the session keyring", unix.SYS_KEYCTL, num(unix.KEYCTL_JOIN_SESSION_KEYRING), d.String(name)).Allow =
			nsenter.Errnos(unix.ENOSYS)
	}
	if cpus := d.e.CPUs; cpus != nil {
		d.Call("set the CPUs to run on", unix.SYS_SCHED_SETAFFINITY, num(0), num(8*len(cpus)), d.bits(cpus))
	}
	if d.c.AppArmorProfile != "" {
		d.appArmorProfile(num(proc))
	}
}

// execute looks for the program as credentials.Plan.Resolve does, and executes
// the first that there is.
func (d direct) execute(home string) {
	env := d.c.Env
	if home != "" {
		env = append(env[:len(env):len(env)], "HOME="+home)
	}
	argv, envp := d.Strings(d.c.Args), d.Strings(env)
	filter := filterProgram(d.Table, d.e.Seccomp)
	for _, path := range d.c.Candidates() {
		d.try(path, argv, envp, filter)
	}
	d.fail("find the program " + d.c.Args[0])
}

// try appends the execution of the file at path, if it may be executed.
func (d direct) try(path string, argv, envp, filter nsenter.Arg) {
	seen := path
	if !strings.HasPrefix(path, "/") {
		seen = d.c.Cwd + "/" + path
	}
	fd := d.Cell()
	look := d.Here()
	d.openInRoot("look for "+path, seen, unix.O_PATH).Save = fd // no magic links: /proc/self/exe is the stub
	may := d.Here()
	d.Call("ask whether "+path+" may be executed", unix.SYS_FACCESSAT2, fd.Value(), d.empty, num(unix.X_OK), num(unix.AT_EACCESS|unix.AT_EMPTY_PATH))
	d.Call("say that the program is executed", unix.SYS_GETTID).Save = num(pageAt + pageBegun)
	d.RestoreMask()
	if filter != (nsenter.Arg{}) {
		d.Call("load the seccomp filter", unix.SYS_SECCOMP, num(unix.SECCOMP_SET_MODE_FILTER), num(int(d.e.Seccomp.Flags)), filter).Save =
			num(pageAt + pageError)
	}
	d.Call("execute "+path, unix.SYS_EXECVE, d.String(path), argv, envp).Save = num(pageAt + pageError)
	for _, i := range [...]int{look, may} {
		s := &d.Steps[i]
		s.Allow, s.Target = nsenter.Errnos(unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.ELOOP), d.Here()
	}
}
