package notify

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProgramIsExecuted(t *testing.T) {
	for _, tt := range []struct {
		name, filter, keep, seccomp, fds string
	}{
		{"no filter", "", "", "Seccomp:0", "[0 1 2]"},
		{"filter", "harmless", "", "Seccomp:2", "[0 1 2]"},
		{"filter and a preserved fd", "harmless", "yes", "Seccomp:2", "[0 1 2 3]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, l := listen(t)
			f := newFake(t, l, self(t), roleFilter+"="+tt.filter, roleKeep+"="+tt.keep)
			if err := start(dir); err != nil {
				t.Fatal(err)
			}
			status, out := f.end()
			if status.ExitStatus() != 0 {
				t.Errorf("ended with %v", status)
			}
			want := `["name" "a b" ""] ["GOURD_TEST_PROGRAM=1" "X=y z"] [SigBlk:0000000000000000 ` + sigIgn(t, 0) + ` ` + tt.seccomp + `] ` + tt.fds
			if out != want {
				t.Errorf("the program got\n%s, want\n%s", out, want)
			}
		})
	}
}

// sigIgn returns the line of a program that ignores these signals, and those that
// we were born with: a shell may ignore SIGHUP, and glibc ignores its own signal in
// what it starts, and so what make starts.
func sigIgn(t *testing.T, mask uint64) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nSigIgn:\t")
	own, _, _ := strings.Cut(rest, "\n")
	born, err := strconv.ParseUint(own, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("SigIgn:%016x", mask|born)
}

// What execve makes of signals is what it would without gourd: ignored ones
// stay ignored.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	dir, l := listen(t)
	f := prepare(t, l, self(t))
	// Go takes over every disposition but these two when they are ignored,
	// in runc as in gourd.
	f.cmd.Args = []string{"sh", "-c", `trap "" HUP TSTP; exec "$0"`, self(t)}
	f.cmd.Path = "/bin/sh"
	f.run(t)
	if err := start(dir); err != nil {
		t.Fatal(err)
	}
	_, out := f.end()
	if want := sigIgn(t, 0x80001); !strings.Contains(out, want) {
		t.Errorf("the program says %s, want %s", out, want)
	}
}

func TestErrorsOfTheExec(t *testing.T) {
	tmp := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(tmp, "missing")
	script := file("script", "#! /no/such/shell -e\nexit 0\n", 0o755)
	dynamic := file("dynamic", elfWith(t, "/lib/ld-none.so.1"), 0o755)
	plain := file("plain", "no program\n", 0o755)
	dirname := filepath.Join(tmp, "dir")
	if err := os.Mkdir(dirname, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, program, filter string
		step                  Step
		errno                 unix.Errno
		text                  string
		signal                unix.Signal // 0: it exits
	}{
		{"no program", missing, "", StepExec, unix.ENOENT, "exec " + missing + ": no such file or directory (it or its interpreter is not there)", 0},
		{"no shell", script, "", StepExec, unix.ENOENT, "exec " + script + ": no such file or directory (its interpreter /no/such/shell is not there)", 0},
		{"no loader", dynamic, "", StepExec, unix.ENOENT, "exec " + dynamic + ": no such file or directory (its interpreter /lib/ld-none.so.1 is not there)", 0},
		{"no format", plain, "", StepExec, unix.ENOEXEC, "exec " + plain + ": exec format error (it is neither a program for this machine's architecture nor a script with #!)", 0},
		{"directory", dirname, "", StepExec, unix.EACCES, "exec " + dirname + ": permission denied", 0},
		{"no shell, a filter", script, "harmless", StepExec, unix.ENOENT, "exec " + script + ": no such file or directory (its interpreter /no/such/shell is not there)", 0},
		{"no shell, a filter that denies every way to say so", script, "mute", StepExec, unix.ENOENT, "exec " + script + ": no such file or directory (its interpreter /no/such/shell is not there)", unix.SIGSEGV},
		{"a filter that denies execve", self(t), "exec", StepExec, unix.EPERM, "exec " + self(t) + ": operation not permitted (the seccomp profile, or a security module, may forbid it)", 0},
		{"a filter that is none", self(t), "broken", StepFilter, unix.EINVAL, "load seccomp filter: invalid argument", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, l := listen(t)
			f := newFake(t, l, tt.program, roleFilter+"="+tt.filter)
			checkFailure(t, start(dir), tt.step, tt.errno, tt.text)
			checkDeath(t, f, tt.signal)
		})
	}
}

func checkFailure(t *testing.T, err error, step Step, errno unix.Errno, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("start: %v, want an *Error", err)
	}
	if e.Step != step || !errors.Is(err, errno) || err.Error() != text {
		t.Errorf("start: step %d, %v, want step %d, %v: %s", e.Step, err, step, errno, text)
	}
}

func checkDeath(t *testing.T, f *fake, signal unix.Signal) {
	t.Helper()
	status, out := f.end()
	if signal != 0 && status.Signal() != signal || signal == 0 && status.ExitStatus() != 1 {
		t.Errorf("init's wait status is %#x, want signal %d or exit status 1", uint32(status), signal)
	}
	if out != "" {
		t.Errorf("init wrote %q", out)
	}
}

// A pid 1 has no default action for a signal, not even SIGKILL from inside:
// only the fault ends it.
func TestMutePid1Ends(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a pid namespace")
	}
	dir, l := listen(t)
	f := prepare(t, l, "/no/such/program", roleFilter+"=mute")
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	f.run(t)
	checkFailure(t, start(dir), StepExec, unix.ENOENT, "exec /no/such/program: no such file or directory (it or its interpreter is not there)")
	checkDeath(t, f, unix.SIGSEGV)
}

// From Ready to the execve init starts no thread: here it could not, and the
// Go runtime would throw.
func TestNoThreadIsStarted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: RLIMIT_NPROC is to hit a user that has nothing else running")
	}
	dir, l := listen(t)
	f := newFake(t, l, "/bin/true", roleUser+"=61234")
	// Long enough for the Go scheduler to see the gate as a goroutine that
	// has run for too long, and to do what it does about it.
	time.Sleep(100 * time.Millisecond)
	if err := start(dir); err != nil {
		t.Error(err)
	}
	if status, out := f.end(); status != 0 || out != "" {
		t.Errorf("init's wait status is %#x, it wrote %q", uint32(status), out)
	}
}

// The runtime may be killed before it has recorded the container: nobody would
// ever come to start it.
func TestRuntimeDiesBeforeTheRecord(t *testing.T) {
	dir, l := listen(t)
	f := newFake(t, l, "/bin/true", roleOrphan+"=yes")
	if status, out := f.end(); status.ExitStatus() != 9 || !strings.Contains(out, errOrphaned.Error()) {
		t.Errorf("init's wait status is %#x, it wrote %q", uint32(status), out)
	}
	if err := start(dir); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("start: %v, want ErrNotWaiting", err)
	}
}

func TestFailingHook(t *testing.T) {
	dir, l := listen(t)
	f := newFake(t, l, self(t), roleHook+"=fail")
	checkFailure(t, start(dir), StepHooks, unix.EPERM, "error running startContainer hook #0: /hook: operation not permitted")
	checkDeath(t, f, 0)
}

func TestLongStateDirectory(t *testing.T) {
	dir := t.TempDir()
	for len(dir) < 300 {
		dir = filepath.Join(dir, strings.Repeat("d", 60))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, l, "/bin/true")
	if err := start(dir); err != nil {
		t.Error(err)
	}
	f.end()
}

// Exactly one of the starts that knock at the same time is let in.
func TestTwoStartsAtOnce(t *testing.T) {
	dir, l := listen(t)
	first, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, l, "/bin/true")
	if err := first.Wait(); err != nil {
		t.Errorf("the first start: %v", err)
	}
	if err := second.Wait(); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("the second start: %v, want ErrNotWaiting", err)
	}
	f.end()
	if err := start(dir); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("a third start, after the end: %v, want ErrNotWaiting", err)
	}
}

// A start that gives up before init has come to the gate costs nothing.
func TestStartThatGaveUp(t *testing.T) {
	dir, l := listen(t)
	gone, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone.conn.Close()
	f := newFake(t, l, "/bin/true")
	if err := start(dir); err != nil {
		t.Error(err)
	}
	f.end()
}

func TestInitIsKilled(t *testing.T) {
	t.Run("at the gate", func(t *testing.T) {
		dir, l := listen(t)
		f := newFake(t, l, "/bin/true")
		_ = f.cmd.Process.Kill()
		f.end()
		if err := start(dir); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("start: %v, want ErrNotWaiting", err)
		}
	})
	t.Run("stopped at the gate", func(t *testing.T) {
		dir, l := listen(t)
		f := newFake(t, l, "/bin/true")
		if err := f.cmd.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, f.cmd.Process.Pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		r, err := Start(dir) // into the backlog
		if err != nil {
			t.Fatal(err)
		}
		_ = f.cmd.Process.Kill()
		if err := r.Wait(); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("start: %v, want ErrNotWaiting", err)
		}
		f.end()
	})
	t.Run("after the gate", func(t *testing.T) {
		dir, l := listen(t)
		f := newFake(t, l, "/bin/true", roleHook+"=wait")
		r, err := Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := start(dir); !errors.Is(err, ErrNotWaiting) { // proves that init is through the gate
			t.Errorf("another start: %v, want ErrNotWaiting", err)
		}
		_ = f.cmd.Process.Kill()
		if err := r.Wait(); err != ErrDied {
			t.Errorf("start: %v, want %v", err, ErrDied)
		}
		f.end()
	})
}

// A user who gets at the socket but did not create the container is not let
// in, and does not disturb.
func TestAnotherUserIsTurnedAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to be another user")
	}
	dir, err := os.MkdirTemp("/tmp", "gourd-notify-") // t.TempDir's parents are private
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, socketName): 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	f := newFake(t, l, "/bin/true")
	other := exec.Command("/proc/self/exe")
	other.Env = []string{roleStart + "=" + dir}
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: 61234}}
	out, err := other.CombinedOutput()
	if err == nil || string(out) != ErrNotWaiting.Error() {
		t.Errorf("another user's start: %v, %s, want %v", err, out, ErrNotWaiting)
	}
	if err := start(dir); err != nil {
		t.Error(err)
	}
	f.end()
}

func TestNoGate(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "gone"), filepath.Join(t.TempDir(), strings.Repeat("x", 200))} {
		if _, err := Start(dir); !errors.Is(err, ErrNotWaiting) || !errors.Is(err, unix.ENOENT) {
			t.Errorf("Start(%q): %v, want ErrNotWaiting and ENOENT", dir, err)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	_, l := listen(t)
	defer l.Close()
	p, err := NewPage(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, tt := range []struct {
		want string
		e    Exec
	}{
		{`program "/a\x00b"`, Exec{Path: "/a\x00b"}},
		{"process.args", Exec{Path: "/a", Argv: []string{"\x00"}}},
		{"process.env", Exec{Path: "/a", Env: []string{"A=\x00"}}},
		{"preserve fd ", Exec{Path: "/a", Preserve: 1 << 20}},
		{"seccomp filter: 0 instructions", Exec{Path: "/a", Filter: &Filter{}}},
		{"seccomp filter: it goes with an agent", Exec{Path: "/a", Filter: &Filter{Prog: make([]unix.SockFilter, 1), Flags: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}}},
		{"seccomp filter: it goes with an agent", Exec{Path: "/a", Filter: &Filter{Prog: make([]unix.SockFilter, 1), Agent: &Agent{}}}},
		{"seccomp agent: there is no message", Exec{Path: "/a", Filter: &Filter{Prog: make([]unix.SockFilter, 1), Flags: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, Agent: &Agent{}}}},
		{"seccomp filter: 4097 instructions", Exec{Path: "/a", Filter: &Filter{Prog: make([]unix.SockFilter, 4097)}}},
	} {
		if _, err := Prepare(p, int(l.Fd()), -1, &tt.e); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Prepare: %v, want %q", err, tt.want)
		}
	}
}

// A page is whatever bytes the other side sent.
func TestReadPage(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		name  string
		fill  func(p *Page)
		begun bool
		want  string // the failure's text
		err   string
	}{
		{name: "waiting", fill: func(p *Page) {}},
		{name: "executing", fill: func(p *Page) { p.put(BegunAt, 1) }, begun: true},
		{name: "the filter is loaded", fill: func(p *Page) { p.put(BegunAt, 77); p.put(ResultAt(StepFilter), 3) }, begun: true},
		{name: "a failure before executing", fill: func(p *Page) { p.put(ResultAt(StepExec), -1) }},
		{name: "long texts", fill: func(p *Page) {
			p.put(ResultAt(StepHooks), failedSomehow)
			p.text(offPath, offInterp, long)
			p.text(offText, PageSize, long+long)
		}, want: strings.Repeat("x", PageSize-offText)},
		{name: "long path", fill: func(p *Page) {
			p.put(BegunAt, 1)
			p.put(ResultAt(StepExec), -int64(unix.EACCES))
			p.text(offPath, offInterp, long)
			p.text(offInterp, offText, "no")
		}, begun: true, want: "exec " + long[:2048] + ": permission denied"},
		{name: "other magic", fill: func(p *Page) { p.put(offMagic, 1) }, err: "the start gate's page is of another version of gourd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPage(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			tt.fill(p)
			fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "page")
			defer f.Close()
			begun, failure, err := readPage(f)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || begun != tt.begun {
				t.Errorf("begun %v, error %v, want begun %v", begun, err, tt.begun)
			}
			if failure == nil != (tt.want == "") || failure != nil && failure.Error() != tt.want {
				t.Errorf("failure %v, want %q", failure, tt.want)
			}
		})
	}
}

func TestPageCannotShrink(t *testing.T) {
	p, err := NewPage(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, size := range []int64{0, 2 * PageSize} {
		if err := unix.Ftruncate(p.fd, size); err != unix.EPERM {
			t.Errorf("ftruncate to %d: %v, want EPERM", size, err)
		}
	}
}

// elfWith returns a 64-bit program of this machine that needs an interpreter.
func elfWith(t *testing.T, interp string) string {
	t.Helper()
	own, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	var b strings.Builder
	write := func(v any) {
		if err := binary.Write(&b, own.ByteOrder, v); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(own.Machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(own.Class), byte(own.Data), 1})
	write(h)
	write(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Filesz: 64, Memsz: 64, Align: 4096})
	write(elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 2*56, Filesz: uint64(len(interp) + 1)})
	return b.String() + interp + "\x00"
}

func TestELFInterpreter(t *testing.T) {
	whole := elfWith(t, "/lib/ld.so")
	if got := elfInterpreter([]byte(whole)); got != "/lib/ld.so" {
		t.Errorf("got %q", got)
	}
	for n := range whole { // no cut makes it panic
		if got := elfInterpreter([]byte(whole[:n])); n < len(whole)-1 && got != "" {
			t.Fatalf("of the first %d bytes: %q", n, got)
		}
	}
}

func TestScriptInterpreter(t *testing.T) {
	for in, want := range map[string]string{
		"#!/bin/sh\n": "/bin/sh", "#! \t/bin/sh -e x\n": "/bin/sh", "#!/bin/sh": "/bin/sh", "#!\n": "", "#!": "", "": "", "/bin/sh": "",
	} {
		if got := scriptInterpreter([]byte(in)); got != want {
			t.Errorf("of %q: %q, want %q", in, got, want)
		}
	}
}

func FuzzELFInterpreter(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01"))
	f.Fuzz(func(t *testing.T, b []byte) { elfInterpreter(b); scriptInterpreter(b) })
}
