package notify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary is also the init at the gate and the user's program: which
// of them, these say.
const (
	roleInit    = "GOURD_TEST_INIT"    // a fake init; the value is the path of the program
	roleFilter  = "GOURD_TEST_FILTER"  // the name of its filter
	roleUser    = "GOURD_TEST_USER"    // the uid that it takes, with no more threads allowed
	roleKeep    = "GOURD_TEST_KEEP"    // the program is to have fd 3
	roleOrphan  = "GOURD_TEST_ORPHAN"  // its runtime dies before it has recorded the container
	roleHook    = "GOURD_TEST_HOOK"    // what it does between Wait and Exec
	roleProgram = "GOURD_TEST_PROGRAM" // the user's program
	roleStart   = "GOURD_TEST_START"   // a start; the value is the state directory
	roleAgent   = "GOURD_TEST_AGENT"   // fd 6 is the agent's; the value is how long its message is
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleInit) != "":
		fakeInit()
	case os.Getenv(roleProgram) != "":
		program()
	case os.Getenv(roleStart) != "":
		if err := start(os.Getenv(roleStart)); err != nil {
			fmt.Print(err)
			unix.Exit(1)
		}
		unix.Exit(0)
	}
	before := openFDs()
	code := m.Run()
	if after := openFDs(); code == 0 && after != before {
		fmt.Printf("file descriptors leaked: %d before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// openFDs counts the open fds, but not those of the Go poller, which it makes
// when it needs them first and keeps.
func openFDs() int {
	n := 0
	for fd := range 256 {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && !strings.Contains(link, "eventpoll") && !strings.Contains(link, "eventfd") {
			n++
		}
	}
	return n
}

func start(dir string) error {
	r, err := Start(dir)
	if err != nil {
		return err
	}
	return r.Wait()
}

// fakeInit is what initproc does around the gate. fd 3 is the listener, fd 4
// a pipe to say ready on, fd 5 one that ends when the "hook" may end.
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
	page, err := NewPage(nil)
	check(err)
	e := &Exec{
		Path: os.Getenv(roleInit),
		Argv: []string{"name", "a b", ""},
		Env:  []string{roleProgram + "=1", "X=y z"},
	}
	if name := os.Getenv(roleFilter); name != "" {
		e.Filter = filter(name)
		if size, err := strconv.Atoi(os.Getenv(roleAgent)); err == nil {
			e.Filter.Flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
			e.Filter.NoExit = true
			e.Filter.Agent = &Agent{Socket: 6, Message: []byte(strings.Repeat("x", size))}
		}
		check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	}
	listener := 3
	if os.Getenv(roleKeep) != "" {
		listener, err = unix.FcntlInt(3, unix.F_DUPFD_CLOEXEC, 20)
		check(err)
		check(unix.Dup3(1, 3, unix.O_CLOEXEC))
		e.Preserve = 1
	}
	word, rt, err := os.Pipe()
	check(err)
	if os.Getenv(roleOrphan) == "" {
		_, err = rt.WriteString("recorded")
		check(err)
	}
	rt.Close()
	gate, err := Prepare(page, listener, int(word.Fd()), e)
	check(err)
	if os.Getenv(roleUser) != "" {
		// From here on clone(2) fails with EAGAIN and the Go runtime throws.
		check(unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{}))
		check(syscall.Setresuid(61234, 61234, 61234))
	}
	_, err = unix.Write(4, []byte("r"))
	check(err)
	unix.Close(4)
	check(gate.Wait())
	switch os.Getenv(roleHook) {
	case "wait":
		var b [1]byte
		_, _ = unix.Read(5, b[:])
	case "fail":
		gate.Fail(fmt.Errorf("error running startContainer hook #0: /hook: %w", unix.EPERM))
		unix.Exit(1)
	}
	gate.Exec()
}

// program shows what it was given.
func program() {
	var fds []string
	for fd := range 32 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, strconv.Itoa(fd))
		}
	}
	var status []string
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		for _, key := range []string{"SigBlk:", "SigIgn:", "Seccomp:"} {
			if strings.HasPrefix(line, key) {
				status = append(status, strings.Join(strings.Fields(line), ""))
			}
		}
	}
	fmt.Printf("%q %q %v %v", os.Args, os.Environ(), status, fds)
	unix.Exit(0)
}

// fake is a running fake init.
type fake struct {
	t     *testing.T
	cmd   *exec.Cmd
	agent *os.File // init's end of the agent's connection, fd 6; nil: none
	out   strings.Builder
	hook  *os.File // closing it ends the "hook"
}

// newFake starts a fake init on a listener, which it takes over, and returns
// when it is about to wait at the gate.
func newFake(t *testing.T, listener *os.File, program string, env ...string) *fake {
	t.Helper()
	f := prepare(t, listener, program, env...)
	f.run(t)
	return f
}

// prepare returns a fake init whose run is still to come.
func prepare(t *testing.T, listener *os.File, program string, env ...string) *fake {
	t.Helper()
	f := &fake{t: t}
	f.cmd = exec.Command("/proc/self/exe")
	f.cmd.Env = append([]string{roleInit + "=" + program, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}, env...)
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	f.cmd.ExtraFiles = []*os.File{listener}
	return f
}

func (f *fake) run(t *testing.T) {
	t.Helper()
	ready, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hook, hookW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	f.hook = hookW
	f.cmd.ExtraFiles = append(f.cmd.ExtraFiles, w, hook)
	if f.agent != nil {
		f.cmd.ExtraFiles = append(f.cmd.ExtraFiles, f.agent)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.hook.Close()
		if f.cmd.ProcessState == nil {
			_ = f.cmd.Process.Kill()
			_ = f.cmd.Wait()
		}
	})
	for _, file := range f.cmd.ExtraFiles {
		file.Close()
	}
	got, _ := io.ReadAll(ready)
	ready.Close()
	if string(got) != "r" {
		_ = f.cmd.Wait()
		t.Fatalf("fake init did not come to the gate: %s", f.out.String())
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

// listen makes a state directory and its socket.
func listen(t *testing.T) (string, *os.File) {
	t.Helper()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, l
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// filter returns a hand-made filter: it answers EPERM to some system calls, or
// lets the agent answer, and allows all others.
func filter(name string) *Filter {
	var deny []uint32
	verdict := 0x00050000 | uint32(unix.EPERM) // SECCOMP_RET_ERRNO
	switch name {
	case "mute": // all the ways to speak and to end
		deny = []uint32{unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDMSG, unix.SYS_SENDTO, unix.SYS_EXIT_GROUP, unix.SYS_EXIT,
			unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_RT_SIGRETURN, unix.SYS_CLOSE}
	case "harmless":
		deny = []uint32{unix.SYS_ACCT}
	case "asks": // before all others, the ways to end
		deny = []uint32{unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDMSG, unix.SYS_SENDTO, unix.SYS_EXIT_GROUP, unix.SYS_EXIT,
			unix.SYS_CLOSE, unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_RT_SIGRETURN, unix.SYS_EXECVE}
		verdict = 0x7fc00000 // SECCOMP_RET_USER_NOTIF
	case "exec":
		deny = []uint32{unix.SYS_EXECVE}
	case "broken": // does not end in a return
		return &Filter{Prog: []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}}
	}
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // seccomp_data.nr
	for _, nr := range deny {
		prog = append(prog,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict})
	}
	return &Filter{Prog: append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000})} // ALLOW
}
