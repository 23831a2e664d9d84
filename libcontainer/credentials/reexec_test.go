package credentials

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// The tests that need root run this test binary again, twice in one process:
// first as init, which applies a Plan in a root directory of its own, then, by
// the execve, as the container's program, which reports what it is.

const (
	roleEnv = "GOURD_CREDENTIALS_TEST"
	reports = 3 // the fd that both roles report on
)

// order is what the test asks of init.
type order struct {
	Plan     Plan
	Root     string
	DropCaps uint64 // capabilities that init itself is not to have
	HostFD   string // a directory of the host that init has open, as fd 9
	Proc     bool   // mount a procfs in the root
	Exec     bool   // go on to the execve
	Outside  bool   // enter HostFD after chroot, and look only at that
}

// report is what a process says of itself.
type report struct {
	Step, Err, Errno                   string // the step that failed
	Caps                               linux.Caps
	Bounding, Ambient                  uint64
	Ruid, Euid, Suid, Rgid, Egid, Sgid int
	Groups                             []int
	NoNewPrivs, Umask, OOM             int
	Cwd                                string
	Nofile, Core                       unix.Rlimit
	Keyring                            string
	Policy, Nice, IOPrio, Personality  int
	Path                               string
	Args, Env                          []string
	Status                             map[string]string
}

func init() {
	// Ids and capabilities are the thread's: the main goroutine keeps the main
	// thread, as gourd init's does.
	if os.Getenv(roleEnv) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "init":
		beInit()
	case "program":
		send(describe())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func beInit() {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fail("decode", err)
	}
	step := func(name string, err error) {
		if err != nil {
			fail(name, err)
		}
	}
	var original unix.Rlimit
	step("getrlimit", unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &original))
	original.Cur = min(original.Max, 777)
	proc, err := linux.OpenNoSymlinks(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY)
	step("open proc", err)
	if o.HostFD != "" {
		fd, err := unix.Open(o.HostFD, unix.O_PATH|unix.O_DIRECTORY, 0)
		step("open", err)
		step("dup", unix.Dup3(fd, 9, 0))
	}
	if o.Proc {
		step("mount proc", unix.Mount("proc", filepath.Join(o.Root, "proc"), "proc", 0, ""))
	}
	step("early", o.Plan.Early())
	step("chroot", unix.Chroot(o.Root))
	step("chdir", unix.Chdir("/"))
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	step("open root", err)
	if o.Outside {
		step("fchdir", unix.Fchdir(9))
		step("verify", verifyCwd())
	}
	if o.DropCaps != 0 {
		c, err := linux.ThreadCaps()
		step("capget", err)
		c.Effective &^= o.DropCaps
		c.Permitted &^= o.DropCaps
		step("capset", linux.SetThreadCaps(c))
	}
	step("apply", o.Plan.Apply())
	x, err := o.Plan.Resolve(root)
	step("resolve", err)
	step("limits", o.Plan.LowerLimits(original))
	if o.Exec {
		step("execve", unix.Exec(x.Path, x.Argv, append(x.Env, roleEnv+"=program")))
	}
	r := describe()
	r.Path, r.Args, r.Env = x.Path, x.Argv, x.Env
	r.Status = status(proc)
	send(r)
	os.Exit(0)
}

func fail(step string, err error) {
	r := report{Step: step, Err: err.Error()}
	var errno unix.Errno
	if e, ok := errorsAs(err); ok {
		errno = e
		r.Errno = unix.ErrnoName(errno)
	}
	send(r)
	os.Exit(0)
}

func errorsAs(err error) (unix.Errno, bool) {
	for err != nil {
		if e, ok := err.(unix.Errno); ok {
			return e, true
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return 0, false
		}
		err = u.Unwrap()
	}
	return 0, false
}

func send(r report) {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	if _, err := unix.Write(reports, b); err != nil {
		panic(err)
	}
}

// describe asks the kernel what the calling thread is.
func describe() report {
	var r report
	r.Caps, _ = linux.ThreadCaps()
	for n := range unix.CAP_LAST_CAP + 1 {
		b, _ := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		a, _ := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(n), 0, 0)
		r.Bounding |= uint64(b) << n
		r.Ambient |= uint64(a) << n
	}
	r.Ruid, r.Euid, r.Suid = unix.Getresuid()
	r.Rgid, r.Egid, r.Sgid = unix.Getresgid()
	r.Groups, _ = unix.Getgroups()
	r.NoNewPrivs, _ = unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	r.Umask = unix.Umask(0)
	buf := make([]byte, unix.PathMax)
	if n, err := unix.Getcwd(buf); err == nil && n > 0 {
		r.Cwd = string(buf[:n-1])
	}
	// As inherited: Go raises the soft limit of its own process.
	_ = unix.Prlimit(0, unix.RLIMIT_CORE, nil, &r.Core)
	_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &r.Nofile)
	if desc, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, unix.KEY_SPEC_SESSION_KEYRING); err == nil {
		r.Keyring = desc
	}
	if a, err := unix.SchedGetAttr(0, 0); err == nil {
		r.Policy, r.Nice = int(a.Policy), int(a.Nice)
	}
	io, _, _ := unix.RawSyscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	pers, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	r.IOPrio, r.Personality = int(io), int(pers)
	r.Args = os.Args
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, roleEnv+"=") {
			r.Env = append(r.Env, e)
		}
	}
	return r
}

// status returns what the host's procfs says of the calling thread.
func status(proc int) map[string]string {
	read := func(name string) string {
		fd, err := unix.Openat(proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err.Error()
		}
		defer unix.Close(fd)
		b := make([]byte, 1<<16)
		n, _ := unix.Read(fd, b)
		return string(b[:max(n, 0)])
	}
	m := map[string]string{"oom_score_adj": strings.TrimSpace(read("self/oom_score_adj"))}
	for line := range strings.SplitSeq(read("thread-self/status"), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = strings.TrimSpace(v)
		}
	}
	return m
}

// rootDir returns a root directory that holds this test binary as /bin/test.
func rootDir(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "etc", "tmp", "home"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	self, err := os.Executable()
	must(t, err)
	in, err := os.Open(self)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "bin/test"), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
	return dir
}

// run runs init with an order and returns the report.
func run(t *testing.T, o order, attr *syscall.SysProcAttr) report {
	t.Helper()
	in, err := json.Marshal(o)
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = []string{roleEnv + "=init"}
	cmd.Stdin = strings.NewReader(string(in))
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	cmd.ExtraFiles = []*os.File{w}
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Unshareflags |= syscall.CLONE_NEWNS // the mounts are init's; Go makes them private
	cmd.SysProcAttr = attr
	err = cmd.Start()
	w.Close()
	must(t, err)
	out, rerr := io.ReadAll(r)
	if err := cmd.Wait(); err != nil || rerr != nil {
		t.Fatalf("init: %v, %v: %s", err, rerr, stderr.String())
	}
	var rep report
	if err := json.Unmarshal(out, &rep); err != nil {
		t.Fatalf("report %q: %v: %s", out, err, stderr.String())
	}
	return rep
}

// good is a report that must not be of a failure.
func good(t *testing.T, r report) report {
	t.Helper()
	if r.Step != "" {
		t.Fatalf("%s failed: %s", r.Step, r.Err)
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hex(n uint64) string { return fmt.Sprintf("%016x", n) }
