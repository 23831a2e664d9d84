package credentials

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// plain is a Plan that asks for as little as can be.
func plain() Plan {
	return Plan{Args: []string{"/bin/test", "arg"}, Env: []string{"PATH=/bin"}, Cwd: "/", Umask: 0o022, Capabilities: Capabilities{LastCap: lastCap}}
}

func TestApplyToUser(t *testing.T) {
	p := plain()
	p.UID, p.GID, p.Groups, p.Umask, p.NoNewPrivileges, p.Cwd = 1000, 1001, []uint32{20, 30}, 0o077, true, "/tmp"
	p.Capabilities.Bounding = bits(unix.CAP_KILL, unix.CAP_CHOWN, unix.CAP_NET_RAW)
	p.Capabilities.Permitted = bits(unix.CAP_KILL, unix.CAP_CHOWN)
	p.Capabilities.Effective = bits(unix.CAP_KILL)
	p.Capabilities.Inheritable = bits(unix.CAP_CHOWN, unix.CAP_FOWNER) // FOWNER is not in the bounding set
	p.Capabilities.Ambient = bits(unix.CAP_CHOWN)
	root := rootDir(t)
	r := good(t, run(t, order{Plan: p, Root: root}, nil))
	for _, c := range []struct {
		name, want string
	}{
		{"CapInh", hex(p.Capabilities.Inheritable)}, {"CapPrm", hex(p.Capabilities.Permitted)}, {"CapEff", hex(p.Capabilities.Effective)},
		{"CapBnd", hex(p.Capabilities.Bounding)}, {"CapAmb", hex(p.Capabilities.Ambient)},
		{"Uid", "1000\t1000\t1000\t1000"}, {"Gid", "1001\t1001\t1001\t1001"}, {"Groups", "20 30"}, {"NoNewPrivs", "1"},
	} {
		if got := r.Status[c.name]; got != c.want {
			t.Errorf("before the execve: %s is %q, want %q", c.name, got, c.want)
		}
	}
	if r.Umask != 0o077 || r.Cwd != "/tmp" {
		t.Errorf("umask %#o, cwd %q", r.Umask, r.Cwd)
	}

	r = good(t, run(t, order{Plan: p, Root: root, Exec: true}, nil))
	ids := []int{r.Ruid, r.Euid, r.Suid, r.Rgid, r.Egid, r.Sgid}
	if !slices.Equal(ids, []int{1000, 1000, 1000, 1001, 1001, 1001}) || !slices.Equal(r.Groups, []int{20, 30}) {
		t.Errorf("ids %d, groups %d", ids, r.Groups)
	}
	// What execve makes of the sets (capabilities(7)): of another user than
	// root, permitted and effective are the ambient ones.
	amb := p.Capabilities.Ambient
	if r.Caps.Permitted != amb || r.Caps.Effective != amb || r.Caps.Inheritable != p.Capabilities.Inheritable || r.Bounding != p.Capabilities.Bounding || r.Ambient != amb {
		t.Errorf("after the execve: %+v, bounding %#x, ambient %#x", r.Caps, r.Bounding, r.Ambient)
	}
	if r.NoNewPrivs != 1 || r.Umask != 0o077 || r.Cwd != "/tmp" {
		t.Errorf("no_new_privs %d, umask %#o, cwd %q", r.NoNewPrivs, r.Umask, r.Cwd)
	}
	if !slices.Equal(r.Args, p.Args) || !slices.Equal(r.Env, []string{"PATH=/bin", "HOME=/"}) {
		t.Errorf("args %q, env %q", r.Args, r.Env)
	}
}

// Without a user, groups or capabilities, the process is root with nothing:
// none of gourd's own groups and capabilities are left.
func TestApplyToRoot(t *testing.T) {
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4, 5}}}
	r := good(t, run(t, order{Plan: plain(), Root: rootDir(t), Exec: true}, attr))
	if r.Caps.Permitted|r.Caps.Effective|r.Caps.Inheritable|r.Bounding|r.Ambient != 0 {
		t.Errorf("%+v, bounding %#x, ambient %#x", r.Caps, r.Bounding, r.Ambient)
	}
	if len(r.Groups) != 0 || r.NoNewPrivs != 0 || r.Umask != 0o022 {
		t.Errorf("groups %d, no_new_privs %d, umask %#o", r.Groups, r.NoNewPrivs, r.Umask)
	}
}

// CVE-2022-29162 and its like: no inheritable or ambient capability that gourd
// itself has reaches a container that did not ask for it.
func TestApplyDropsInherited(t *testing.T) {
	attr := &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_CHOWN}}
	p := plain()
	p.UID = 1000
	p.Capabilities.Bounding = bits(unix.CAP_CHOWN)
	r := good(t, run(t, order{Plan: p, Root: rootDir(t), Exec: true}, attr))
	if r.Caps.Permitted|r.Caps.Effective|r.Caps.Inheritable|r.Ambient != 0 || r.Bounding != bits(unix.CAP_CHOWN) {
		t.Errorf("%+v, bounding %#x, ambient %#x", r.Caps, r.Bounding, r.Ambient)
	}
}

// CVE-2016-8867: nor one that it did ask to be permitted and inheritable, but
// not ambient. Root's is not cleared by a change of ids.
func TestApplyClearsAmbient(t *testing.T) {
	attr := &syscall.SysProcAttr{AmbientCaps: []uintptr{unix.CAP_CHOWN}}
	chown := bits(unix.CAP_CHOWN)
	p := plain()
	p.Capabilities.Bounding, p.Capabilities.Permitted, p.Capabilities.Inheritable = chown, chown, chown
	r := good(t, run(t, order{Plan: p, Root: rootDir(t)}, attr))
	if r.Ambient != 0 || r.Caps.Inheritable != chown || r.Caps.Permitted != chown || r.Caps.Effective != 0 {
		t.Errorf("%+v, ambient %#x", r.Caps, r.Ambient)
	}
}

func TestKeepSysAdmin(t *testing.T) {
	admin := bits(unix.CAP_SYS_ADMIN)
	for _, uid := range []uint32{0, 1000} {
		p := plain()
		p.UID, p.KeepSysAdmin = uid, true
		p.Capabilities.Permitted = bits(unix.CAP_KILL)
		root := rootDir(t)
		r := good(t, run(t, order{Plan: p, Root: root}, nil))
		if r.Caps.Permitted != admin|bits(unix.CAP_KILL) || r.Caps.Effective != admin || r.Caps.Inheritable|r.Bounding|r.Ambient != 0 {
			t.Errorf("uid %d, before the execve: %+v", uid, r.Caps)
		}
		r = good(t, run(t, order{Plan: p, Root: root, Exec: true}, nil))
		if r.Caps.Permitted|r.Caps.Effective|r.Caps.Inheritable|r.Bounding|r.Ambient != 0 {
			t.Errorf("uid %d, after the execve: %+v", uid, r.Caps)
		}
	}
}

func TestUserNamespace(t *testing.T) {
	maps := func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 10}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 10}},
		}
	}
	root := rootDir(t)
	must(t, os.Chmod(filepath.Dir(root), 0o755)) // root of the namespace has no rights outside
	p := plain()
	p.UserNS, p.UID = true, 3
	r := good(t, run(t, order{Plan: p, Root: root}, maps())) // Go denies setgroups
	if r.Euid != 3 {
		t.Errorf("uid %d", r.Euid)
	}
	p.Groups = []uint32{1}
	if r := run(t, order{Plan: p, Root: root}, maps()); r.Step != "apply" || r.Errno != "EPERM" || !strings.HasPrefix(r.Err, "process.user.additionalGids: ") {
		t.Errorf("groups although denied: %+v", r)
	}
	p.Groups, p.UID = nil, 10
	if r := run(t, order{Plan: p, Root: root}, maps()); r.Step != "apply" || r.Errno != "EINVAL" || !strings.Contains(r.Err, "not mapped") {
		t.Errorf("an unmapped uid: %+v", r)
	}
}

func TestLimits(t *testing.T) {
	root := rootDir(t)
	p := plain()
	r := good(t, run(t, order{Plan: p, Root: root}, nil))
	if r.Nofile.Cur != min(r.Nofile.Max, 777) { // what init says it was started with
		t.Errorf("RLIMIT_NOFILE %+v is not the original", r.Nofile)
	}
	p.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 3, 50, 0}, {unix.RLIMIT_CORE, 0, 4096, 1}}
	p.UID = 1000
	r = good(t, run(t, order{Plan: p, Root: root}, nil))
	if want := (unix.Rlimit{Cur: 3, Max: 50}); r.Nofile != want {
		t.Errorf("RLIMIT_NOFILE %+v, want %+v", r.Nofile, want)
	}
	if want := (unix.Rlimit{Cur: 0, Max: 4096}); r.Core != want {
		t.Errorf("RLIMIT_CORE %+v, want %+v", r.Core, want)
	}
	p.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 1, 1, 0}, {unix.RLIMIT_NPROC, 1, unix.RLIM_INFINITY, 7}}
	var have unix.Rlimit
	must(t, unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &have))
	r = run(t, order{Plan: p, Root: root, DropCaps: bits(unix.CAP_SYS_RESOURCE)}, nil)
	capable := bounding()&bits(unix.CAP_SYS_RESOURCE) != 0
	switch {
	case have.Max == unix.RLIM_INFINITY || capable:
		good(t, r)
	case r.Step != "early" || r.Errno != "EPERM" || !strings.HasPrefix(r.Err, "process.rlimits[7]: raise the hard limit from "):
		t.Errorf("raised without the right: %+v", r)
	}
}

func bounding() (b uint64) {
	for n := range lastCap + 1 {
		has, _ := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		b |= uint64(has) << n
	}
	return b
}

func TestOOMScoreAdj(t *testing.T) {
	root := rootDir(t)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	must(t, err)
	if r := good(t, run(t, order{Plan: plain(), Root: root}, nil)); r.Status["oom_score_adj"] != strings.TrimSpace(string(own)) {
		t.Errorf("unset, it is changed from %s to %s", own, r.Status["oom_score_adj"])
	}
	p := plain()
	p.OOMScoreAdj = ptr(789)
	if r := good(t, run(t, order{Plan: p, Root: root}, nil)); r.Status["oom_score_adj"] != "789" {
		t.Errorf("it is %s", r.Status["oom_score_adj"])
	}
	p.OOMScoreAdj = ptr(-1000)
	r := run(t, order{Plan: p, Root: root}, nil)
	if bounding()&bits(unix.CAP_SYS_RESOURCE) != 0 {
		good(t, r)
	} else if r.Step != "early" || r.Errno != "EACCES" || !strings.Contains(r.Err, "CAP_SYS_RESOURCE") {
		t.Errorf("lowered without the right: %+v", r)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(own))); err == nil {
		p.OOMScoreAdj = &n // asks for no change
		good(t, run(t, order{Plan: p, Root: root}, nil))
	}
}

func TestKeyring(t *testing.T) {
	root := rootDir(t)
	p := plain()
	own := good(t, run(t, order{Plan: p, Root: root, Exec: true}, nil)).Keyring
	p.Keyring, p.UID = fmt.Sprintf("_ses.gourd-test-%d", os.Getpid()), 1000
	r := good(t, run(t, order{Plan: p, Root: root, Exec: true}, nil))
	if r.Keyring == "" && own == "" {
		t.Skip("this kernel has no keyrings")
	}
	f := strings.SplitN(r.Keyring, ";", 5)
	if len(f) != 5 || f[4] != p.Keyring {
		t.Fatalf("the session keyring is %q", r.Keyring)
	}
	if perm, err := strconv.ParseUint(f[3], 16, 32); err != nil || perm&keyUserSearch == 0 {
		t.Errorf("its permissions are %s", f[3])
	}
}

func TestScheduling(t *testing.T) {
	p := plain()
	p.Scheduler = &Scheduler{Policy: unix.SCHED_BATCH, Nice: 5}
	p.IOPriority = &IOPriority{Class: 2, Level: 6}
	p.Personality = ptr(uint32(8))
	p.UID = 1000
	r := good(t, run(t, order{Plan: p, Root: rootDir(t), Exec: true}, nil))
	if r.Policy != unix.SCHED_BATCH || r.Nice != 5 || r.IOPrio != 2<<13|6 || r.Personality&0xff != 8 {
		t.Errorf("policy %d, nice %d, io priority %#x, personality %#x", r.Policy, r.Nice, r.IOPrio, r.Personality)
	}
}

// TestSchedulerFlags: the flags of SCHED_DEADLINE, of which chrt(1) does not tell, are
// the kernel's.
func TestSchedulerFlags(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: CAP_SYS_NICE")
	}
	for flag, want := range map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagReclaim:   unix.SCHED_FLAG_RECLAIM,
		specs.SchedFlagDLOverrun: unix.SCHED_FLAG_DL_OVERRUN,
	} {
		t.Run(string(flag), func(t *testing.T) {
			var d defect.List
			config := process()
			config.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1e7, Deadline: 5e7, Period: 1e8, Flags: []specs.LinuxSchedulerFlag{flag}}
			p, _ := Compile(config, nil, Env{}, &d)
			if len(d) > 0 {
				t.Fatal(d)
			}
			runtime.LockOSThread() // and never unlock it: the thread ends
			must(t, p.SetScheduling(0))
			got, err := unix.SchedGetAttr(0, 0)
			must(t, err)
			if got.Policy != unix.SCHED_DEADLINE || got.Flags != want {
				t.Errorf("policy %d, flags %#x, want %#x", got.Policy, got.Flags, want)
			}
			must(t, (&Plan{Scheduler: &Scheduler{Policy: unix.SCHED_NORMAL}}).SetScheduling(0))
		})
	}
}

func TestCwd(t *testing.T) {
	root := rootDir(t)
	must(t, os.Mkdir(filepath.Join(root, "home/u"), 0o700))
	must(t, os.Chown(filepath.Join(root, "home/u"), 1000, 1000))
	must(t, os.Symlink("/home/u", filepath.Join(root, "link")))
	must(t, os.Symlink("../../../../../../tmp", filepath.Join(root, "up")))
	must(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o644))
	host := t.TempDir()
	noOverride := bits(unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH)
	for _, tt := range []struct {
		name, cwd string
		uid       uint32
		drop      uint64
		want      string // cwd
		errno     string
	}{
		{"root", "/", 0, 0, "/", ""},
		{"unclean", "//tmp/../home/./u/", 1000, 0, "/home/u", ""},
		{"only init may enter", "/home/u", 2000, 0, "/home/u", ""},
		{"only the user may enter", "/home/u", 1000, noOverride, "/home/u", ""},
		{"neither may", "/home/u", 2000, noOverride, "", "EACCES"},
		{"a symlink", "/link", 1000, noOverride, "/home/u", ""},
		{"a symlink that would leave", "/up", 0, 0, "/tmp", ""},
		{"dots that would leave", "/../../tmp", 0, 0, "/tmp", ""},
		{"missing", "/none", 0, 0, "", "ENOENT"},
		{"a file", "/file", 0, 0, "", "ENOTDIR"},
		{"a directory of the host, CVE-2024-21626", "/proc/self/fd/9", 0, 0, "", "ELOOP"},
		{"below it", "/proc/self/fd/9/..", 0, 0, "", "ELOOP"},
		{"by its thread", "/proc/thread-self/fd/9", 0, 0, "", "ELOOP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plain()
			p.Cwd, p.UID = tt.cwd, tt.uid
			r := run(t, order{Plan: p, Root: root, Proc: true, HostFD: host, DropCaps: tt.drop}, nil)
			if tt.errno != "" {
				if r.Step != "apply" || r.Errno != tt.errno || !strings.HasPrefix(r.Err, "process.cwd: change to \""+tt.cwd) {
					t.Errorf("got %s %s: %s, want %s", r.Step, r.Errno, r.Err, tt.errno)
				}
				return
			}
			if good(t, r).Cwd != tt.want {
				t.Errorf("it is %q", r.Cwd)
			}
		})
	}
}

// The kernel's account of the working directory is looked at by itself: it
// would show one outside if the lookup above ever let it through.
func TestVerifyCwd(t *testing.T) {
	r := run(t, order{Plan: plain(), Root: rootDir(t), HostFD: t.TempDir(), Outside: true}, nil)
	if r.Step != "verify" || r.Errno != "EXDEV" {
		t.Errorf("got %+v", r)
	}
}

func TestResolve(t *testing.T) {
	root := rootDir(t)
	must(t, os.MkdirAll(filepath.Join(root, "a/dir"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "b/dir"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "locked"), 0o700))
	for name, mode := range map[string]os.FileMode{
		"a/plain": 0o644, "b/plain": 0o755, "a/noexec": 0o644, "b/mine": 0o700, "tmp/here": 0o755, "a/both": 0o755, "b/both": 0o755, "locked/x": 0o755,
	} {
		must(t, os.WriteFile(filepath.Join(root, name), nil, mode))
	}
	must(t, os.Symlink("/b/both", filepath.Join(root, "a/abs")))
	must(t, os.Symlink("none", filepath.Join(root, "a/dangling")))
	must(t, unix.Mkfifo(filepath.Join(root, "a/fifo"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/root:\n1000:x:0:0::/evil:\nu:x:1000:0::/home/u:\n"), 0o644))
	for _, tt := range []struct {
		name, file string
		env        []string
		uid        uint32
		want       string // path, or what is wrong
		errno      string
	}{
		{"absolute", "/b/plain", nil, 0, "/b/plain", ""},
		{"an absolute symlink stays inside", "/a/abs", nil, 0, "/a/abs", ""},
		{"in PATH", "both", []string{"PATH=/a:/b"}, 0, "/a/both", ""},
		{"not executable, then found", "plain", []string{"PATH=/a:/b"}, 0, "/b/plain", ""},
		{"a directory, then nothing", "dir", []string{"PATH=/a:/b"}, 0, `exec: "dir": executable file not found in $PATH`, "ENOENT"},
		{"missing", "foo", []string{"PATH=/a:/none"}, 0, `exec: "foo": executable file not found in $PATH`, "ENOENT"},
		{"only one that may not be executed", "noexec", []string{"PATH=/a:/b"}, 0, `exec: "noexec": permission denied`, "EACCES"},
		{"only one that the user may not execute", "mine", []string{"PATH=/b"}, 1000, `exec: "mine": permission denied`, "EACCES"},
		{"root may", "mine", []string{"PATH=/b"}, 0, "/b/mine", ""},
		{"no PATH", "test", nil, 0, "/bin/test", ""},
		{"an empty PATH is the working directory", "here", []string{"PATH="}, 0, "./here", ""},
		{"an empty part of PATH too", "here", []string{"PATH=/a::/b"}, 0, "./here", ""},
		{"relative", "./here", nil, 0, "./here", ""},
		{"relative, above", "../b/both", nil, 0, "../b/both", ""},
		{"no such file", "/foo", nil, 0, `exec: "/foo": stat /foo: no such file or directory`, "ENOENT"},
		{"a file for a directory", "/b/both/x", nil, 0, `exec: "/b/both/x": stat /b/both/x: not a directory`, "ENOTDIR"},
		{"dangling", "/a/dangling", nil, 0, `exec: "/a/dangling": stat /a/dangling: no such file or directory`, "ENOENT"},
		{"a directory", "/a", nil, 0, `exec: "/a": is a directory`, "EISDIR"},
		{"a fifo", "/a/fifo", nil, 0, `exec: "/a/fifo": permission denied`, "EACCES"},
		{"not executable", "/a/noexec", nil, 0, `exec: "/a/noexec": permission denied`, "EACCES"},
		{"in a directory that the user may not search", "/locked/x", nil, 1000, `exec: "/locked/x": permission denied`, "EACCES"},
		{"gourd itself", "/proc/self/exe", nil, 0, `exec: "/proc/self/exe": too many levels of symbolic links (a loop, or a link of /proc that leads elsewhere)`, "ELOOP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plain()
			p.Args, p.Env, p.UID, p.Cwd = []string{tt.file, "x"}, tt.env, tt.uid, "/tmp"
			r := run(t, order{Plan: p, Root: root, Proc: true}, nil)
			if tt.errno != "" {
				if r.Step != "resolve" || r.Errno != tt.errno || r.Err != tt.want {
					t.Errorf("got %s %s: %s, want %s", r.Step, r.Errno, r.Err, tt.want)
				}
				return
			}
			home := "HOME=/root"
			if tt.uid == 1000 {
				home = "HOME=/home/u"
			}
			if good(t, r).Path != tt.want || !slices.Equal(r.Args, p.Args) || !slices.Equal(r.Env, append(slices.Clone(tt.env), home)) {
				t.Errorf("path %q, args %q, env %q", r.Path, r.Args, r.Env)
			}
		})
	}
}

func TestHome(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(path string) error
		env  []string
		want string
	}{
		{"given", func(p string) error { return os.WriteFile(p, []byte("r:x:0:0::/root:\n"), 0o644) }, []string{"HOME=/x"}, "HOME=/x"},
		{"none", func(string) error { return nil }, nil, "HOME=/"},
		{"fifo", func(p string) error { return unix.Mkfifo(p, 0o644) }, nil, "HOME=/"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }, nil, "HOME=/"},
		{"a link out of the root", func(p string) error { return os.Symlink("../../../../../../../../../../etc/passwd", p) }, nil, "HOME=/"},
		{"beyond what is read", func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat("#\n", maxPasswd/2)+"r:x:0:0::/root:\n"), 0o644)
		}, nil, "HOME=/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := rootDir(t)
			must(t, tt.make(filepath.Join(root, "etc/passwd")))
			p := plain()
			p.Env = tt.env
			r := good(t, run(t, order{Plan: p, Root: root}, nil))
			if !reflect.DeepEqual(r.Env, []string{tt.want}) {
				t.Errorf("env %q, want %q", r.Env, tt.want)
			}
		})
	}
}
