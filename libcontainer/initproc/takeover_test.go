package initproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/seccomp"
)

// The test binary is also the init that leaves Go, the user's program, another
// user's start and an onlooker: which of them, these say.
const (
	roleInit    = "GOURD_TEST_INIT"    // the value is the path of the program
	roleFilter  = "GOURD_TEST_FILTER"  // the name of its filter
	roleBroken  = "GOURD_TEST_BROKEN"  // the stub cannot be executed
	roleProgram = "GOURD_TEST_PROGRAM" // the user's program
	roleStart   = "GOURD_TEST_START"   // a start; the value is the state directory
	rolePeek    = "GOURD_TEST_PEEK"    // an onlooker; the value is a pid
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleInit) != "":
		fakeInit()
	case os.Getenv(roleProgram) != "":
		program()
	case os.Getenv(rolePeek) != "":
		peek(os.Getenv(rolePeek))
		unix.Exit(0)
	case os.Getenv(roleStart) != "":
		if err := start(os.Getenv(roleStart)); err != nil {
			fmt.Print(err)
			unix.Exit(1)
		}
		unix.Exit(0)
	}
	os.Exit(m.Run())
}

func start(dir string) error {
	r, err := notify.Start(dir)
	if err != nil {
		return err
	}
	return r.Wait()
}

// fakeInit is the last stretch of run. fd 3 is the listener, fd 4 the
// conversation, fd 5 stands for the gate's file.
func fakeInit() {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "fake init:", err)
			unix.Exit(9)
		}
	}
	check(unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC))
	facts, err := host.Probe()
	check(err)
	conn, err := protocol.Open(4)
	check(err)
	page, err := notify.NewPage(nil)
	check(err)
	p := &plan.Init{Waits: true, TellAtGate: true, Seccomp: filterOf(os.Getenv(roleFilter)), Credentials: credentials.Plan{
		Cwd: "/", KeepSysAdmin: true,
		Capabilities: credentials.Capabilities{Bounding: 1 << unix.CAP_CHOWN, Permitted: 1 << unix.CAP_CHOWN, LastCap: facts.LastCap},
	}}
	check(p.Credentials.ApplyCarrying())
	check(hide())
	exe := credentials.Exec{Path: os.Getenv(roleInit), Argv: []string{"name", "a b", ""}, Env: []string{roleProgram + "=1", "X=y z"}}
	gate, err := notify.Prepare(page, 3, 4, &notify.Exec{Path: exe.Path, Argv: exe.Argv, Env: exe.Env, Filter: filter(p.Seccomp, -1, nil)})
	check(err)
	next, err := newSuccessor(p, exe, gate, plan.GateFiles{Runtime: 4, Listener: 3, Lock: 5, Page: page.FD()})
	check(err)
	if os.Getenv(roleBroken) != "" {
		next.stub, err = os.Open("/dev/null")
		check(err)
	}
	check(next.takeOver())
	check(p.Credentials.PutDown())
	check(conn.Send(protocol.KindAtGate, nil))
	check(gate.Wait())
	gate.Exec()
}

// program shows what it was given.
func program() {
	var fds, status []string
	for fd := range 32 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, strconv.Itoa(fd))
		}
	}
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		for _, key := range []string{"SigBlk:", "Cap", "Seccomp:"} {
			if strings.HasPrefix(line, key) {
				status = append(status, strings.Join(strings.Fields(line), ""))
			}
		}
	}
	fmt.Printf("%q %q %v %v", os.Args, os.Environ(), status, fds)
	unix.Exit(0)
}

// filterOf returns a filter that answers EPERM to some system calls, and allows
// all others.
func filterOf(name string) *seccomp.Program {
	var deny []uint32
	switch name {
	case "":
		return nil
	case "mute": // all the ways to speak and to end
		deny = []uint32{unix.SYS_WRITE, unix.SYS_SENDMSG, unix.SYS_SENDTO, unix.SYS_EXIT_GROUP, unix.SYS_EXIT, unix.SYS_KILL,
			unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_RT_SIGPROCMASK, unix.SYS_CLOSE}
	case "exec":
		deny = []uint32{unix.SYS_EXECVE}
	case "broken": // one instruction that there is not
		const allow = 0x7fff0000
		return &seccomp.Program{Filter: []seccomp.Instruction{{Code: unix.BPF_RET | unix.BPF_K, K: allow}, {Code: 0xffff}, {Code: unix.BPF_RET | unix.BPF_K, K: allow}}}
	}
	prog := []seccomp.Instruction{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // seccomp_data.nr
	for _, nr := range deny {
		prog = append(prog, seccomp.Instruction{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			seccomp.Instruction{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EPERM)})
	}
	return &seccomp.Program{Filter: append(prog, seccomp.Instruction{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000})}
}

// fake is an init that leaves Go.
type fake struct {
	t    *testing.T
	dir  string // its state directory
	conn *protocol.Conn
	cmd  *exec.Cmd
	out  strings.Builder
}

// newFake returns one that is still to be run.
func newFake(t *testing.T, program string, env ...string) *fake {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, whose capabilities init has")
	}
	dir, err := os.MkdirTemp("/tmp", "gourd-gate-") // t.TempDir's parents are private
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fake{t: t, dir: dir, cmd: exec.Command("/proc/self/exe")}
	f.cmd.Env = append([]string{roleInit + "=" + program, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}, env...)
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	return f
}

// run returns when it is at the gate: in the stub, or in Go if that is wanted.
func (f *fake) run(inGo bool) {
	f.t.Helper()
	listener, err := notify.Listen(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	conn, theirs, err := protocol.Pair()
	if err != nil {
		f.t.Fatal(err)
	}
	f.conn = conn
	f.cmd.ExtraFiles = []*os.File{listener, theirs, listener}
	err = f.cmd.Start()
	listener.Close()
	theirs.Close()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		f.conn.Close()
		if f.cmd.ProcessState == nil {
			_ = f.cmd.Process.Kill()
			_ = f.cmd.Wait()
		}
	})
	if _, err := conn.Expect(protocol.KindAtGate); err != nil {
		_ = f.cmd.Wait()
		f.t.Fatalf("it did not come to the gate: %v, %s", err, f.out.String())
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", f.cmd.Process.Pid))
	if err != nil || strings.HasPrefix(exe, "/memfd:gourd-gate") == inGo {
		f.t.Errorf("at the gate is %s, %v", exe, err)
	}
}

// atGate runs it and says that the container is recorded.
func (f *fake) atGate() *fake {
	f.t.Helper()
	f.run(false)
	f.record()
	return f
}

func (f *fake) record() {
	f.t.Helper()
	if err := f.conn.Send(protocol.KindRecorded, nil); err != nil {
		f.t.Fatal(err)
	}
}

// end waits for the process and returns its status and output.
func (f *fake) end() (syscall.WaitStatus, string) {
	f.t.Helper()
	var exit *exec.ExitError
	if err := f.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		f.t.Fatal(err)
	}
	return f.cmd.ProcessState.Sys().(syscall.WaitStatus), f.out.String()
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

const chown = "CapInh:0000000000000000 CapPrm:0000000000000001 CapEff:0000000000000001 CapBnd:0000000000000001 CapAmb:0000000000000000"

// The program is the same whether the stub executes it, or Go because the stub
// could not be.
func TestTakeOver(t *testing.T) {
	for _, broken := range []string{"", "yes"} {
		for filter, loaded := range map[string]string{"": "0", "harmless": "2"} {
			f := newFake(t, self(t), roleFilter+"="+filter, roleBroken+"="+broken)
			f.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
			f.run(broken != "")
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid))
			if threads := strings.Contains(string(status), "\nThreads:\t1\n"); err != nil || threads != (broken == "") {
				t.Errorf("at the gate (%v): %s", err, status)
			}
			f.record()
			if err := start(f.dir); err != nil {
				t.Error(err)
			}
			ws, out := f.end()
			want := `["name" "a b" ""] ["GOURD_TEST_PROGRAM=1" "X=y z"] [SigBlk:0000000000000000 ` + chown + ` Seccomp:` + loaded + `] [0 1 2]`
			if ws != 0 || out != want {
				t.Errorf("wait status %#x, the program got\n%s, want\n%s", uint32(ws), out, want)
			}
		}
	}
}

func TestFailuresAreTold(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#! /no/such/shell -e\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	noShell := "exec " + script + ": no such file or directory (its interpreter /no/such/shell is not there)"
	for _, tt := range []struct {
		name, program, filter string
		step                  notify.Step
		errno                 unix.Errno
		text                  string
		signal                unix.Signal // 0: it exits
		flags                 uintptr
	}{
		{"no program", "/no/such", "", notify.StepExec, unix.ENOENT, "exec /no/such: no such file or directory (it or its interpreter is not there)", 0, 0},
		{"no shell, a filter", script, "harmless", notify.StepExec, unix.ENOENT, noShell, 0, 0},
		{"a filter that denies every way to say so", script, "mute", notify.StepExec, unix.ENOENT, noShell, unix.SIGSEGV, 0},
		{"the same of a pid 1", script, "mute", notify.StepExec, unix.ENOENT, noShell, unix.SIGSEGV, unix.CLONE_NEWPID},
		{"a filter that denies execve", "/bin/true", "exec", notify.StepExec, unix.EPERM, "exec /bin/true: operation not permitted (the seccomp profile, or a security module, may forbid it)", 0, 0},
		{"a filter that is none", "/bin/true", "broken", notify.StepFilter, unix.EINVAL, "load seccomp filter: invalid argument", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, tt.program, roleFilter+"="+tt.filter)
			f.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: tt.flags}
			f.atGate()
			err := start(f.dir)
			var e *notify.Error
			if !errors.As(err, &e) || e.Step != tt.step || e.Errno != tt.errno || err.Error() != tt.text {
				t.Errorf("start: %v, want %s", err, tt.text)
			}
			ws, out := f.end()
			if tt.signal != 0 && ws.Signal() != tt.signal || tt.signal == 0 && ws.ExitStatus() != 1 || out != "" {
				t.Errorf("init's wait status is %#x, it wrote %q", uint32(ws), out)
			}
		})
	}
}

// Exactly one of the starts that knock at the same time is let in, and one that
// has given up costs nothing.
func TestStartsAtOnce(t *testing.T) {
	f := newFake(t, "/bin/true")
	f.run(false)
	gone := exec.Command("/proc/self/exe")
	gone.Env = []string{roleStart + "=" + f.dir}
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	_ = gone.Process.Kill()
	_ = gone.Wait()
	first, err := notify.Start(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := notify.Start(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	f.record()
	if err := first.Wait(); err != nil {
		t.Errorf("the first start: %v", err)
	}
	if err := second.Wait(); !errors.Is(err, notify.ErrNotWaiting) {
		t.Errorf("the second start: %v, want ErrNotWaiting", err)
	}
	f.end()
	if err := start(f.dir); !errors.Is(err, notify.ErrNotWaiting) {
		t.Errorf("a third start: %v, want ErrNotWaiting", err)
	}
}

// A user who gets at the socket but did not create the container is not let in,
// and does not disturb. In a user namespace, a user from outside cannot be told
// from another.
func TestWhoMayStart(t *testing.T) {
	ids := func(outside int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: outside, Size: 1}, {ContainerID: 1000, HostID: 61235, Size: 1}}
	}
	userns := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids(61233), GidMappings: ids(61233), GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	for _, tt := range []struct {
		name string
		attr *syscall.SysProcAttr
		uid  uint32
		want string
	}{
		{"another user", nil, 61234, notify.ErrNotWaiting.Error()},
		{"root", nil, 0, ""},
		{"a user of the container", userns, 61235, notify.ErrNotWaiting.Error()},
		{"root of the container", userns, 61233, ""},
		{"a user from outside", userns, 61234, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, "/bin/true")
			f.cmd.SysProcAttr = tt.attr
			f.run(false)
			for path, mode := range map[string]os.FileMode{f.dir: 0o755, f.dir + "/notify.sock": 0o777} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			f.record()
			other := exec.Command("/proc/self/exe")
			other.Env = []string{roleStart + "=" + f.dir}
			other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid}}
			out, _ := other.Output()
			if string(out) != tt.want {
				t.Errorf("its start: %q, want %q", out, tt.want)
			}
			if tt.want != "" {
				if err := start(f.dir); err != nil {
					t.Errorf("our own start afterwards: %v", err)
				}
			}
			if ws, out := f.end(); ws != 0 {
				t.Errorf("init's wait status is %#x, it wrote %q", uint32(ws), out)
			}
		})
	}
}

// The runtime may be killed before it has recorded the container: nobody would
// ever come to start it.
func TestRuntimeDies(t *testing.T) {
	f := newFake(t, "/bin/true")
	f.run(false)
	f.conn.Close()
	if err := start(f.dir); !errors.Is(err, notify.ErrNotWaiting) {
		t.Errorf("start: %v, want ErrNotWaiting", err)
	}
	if ws, _ := f.end(); !ws.Exited() || ws.ExitStatus() == 0 {
		t.Errorf("init's wait status is %#x", uint32(ws))
	}
}

// A signal ends an init that waits, a pid 1 too, also if it comes before the
// runtime's word has.
func TestSignalsEndIt(t *testing.T) {
	// nohup(1) ignores one, which whoever it starts inherits, but not what is handled.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, unix.SIGHUP)
	defer signal.Stop(handled)
	pid1 := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	f := newFake(t, "/bin/true", roleBroken+"=yes")
	f.cmd.SysProcAttr = pid1
	f.run(true)
	if err := f.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.record()
	// One that does not end is let go on. Not at once: another thread than the one
	// that would be executing the program may still be about to end the process.
	late := time.AfterFunc(10*time.Second, func() { _ = start(f.dir) })
	if ws, _ := f.end(); ws == 0 {
		t.Error("Go's gate did not end by SIGTERM")
	}
	late.Stop()
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		f := newFake(t, "/bin/true")
		f.cmd.SysProcAttr = pid1
		f.run(false)
		if err := f.cmd.Process.Signal(unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if err := f.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		f.record()
		_ = start(f.dir)
		if ws, _ := f.end(); ws.ExitStatus() != 128+int(sig) {
			t.Errorf("%v: a pid 1's wait status is %#x", sig, uint32(ws))
		}
		f = newFake(t, "/bin/true").atGate()
		if err := f.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = start(f.dir)
		if ws, _ := f.end(); ws.Signal() != sig {
			t.Errorf("%v: another's wait status is %#x", sig, uint32(ws))
		}
	}
}

// Another process of the same ids, with all that init has, but not the right to
// trace whom it likes, cannot look into it.
func TestNobodyLooksIntoIt(t *testing.T) {
	f := newFake(t, "/bin/true").atGate()
	peek := exec.Command("/proc/self/exe")
	peek.Env = []string{rolePeek + "=" + strconv.Itoa(f.cmd.Process.Pid)}
	if out, err := peek.CombinedOutput(); err != nil || string(out) != "nothing" {
		t.Errorf("it sees %s (%v)", out, err)
	}
	if err := start(f.dir); err != nil {
		t.Error(err)
	}
	if ws, out := f.end(); ws != 0 || out != "" {
		t.Errorf("init's wait status is %#x, it wrote %q", uint32(ws), out)
	}
}

// peek looks at another process.
func peek(pid string) {
	runtime.LockOSThread()
	caps, err := linux.ThreadCaps()
	if err == nil {
		caps.Effective &^= 1 << unix.CAP_SYS_PTRACE
		caps.Permitted = caps.Effective
		err = linux.SetThreadCaps(caps)
	}
	if err != nil {
		fmt.Print(err)
		return
	}
	// By this thread, whose capabilities those are.
	for _, name := range []string{"exe", "root", "ns/mnt", "fd/0"} {
		if to, err := os.Readlink("/proc/" + pid + "/" + name); err == nil {
			fmt.Print(name, " is ", to)
			return
		}
	}
	if _, err := os.Open("/proc/" + pid + "/mem"); err == nil {
		fmt.Print("mem can be opened")
		return
	}
	fmt.Print("nothing")
}
