package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// victim_test.go: a real process under each action. The test binary runs
// itself again; the new process loads a profile's filter and makes one call
// that the profile is about.

const victimEnv = "GOURD_SECCOMP_TEST_VICTIM"

func TestMain(m *testing.M) {
	if profile := os.Getenv(victimEnv); profile != "" {
		victim(profile)
	}
	if name := os.Getenv(coldEnv); name != "" {
		cold(name)
	}
	os.Exit(m.Run())
}

// victim loads the filter of a profile, calls getpriority(7, 0), which no Go
// program needs, tells what that returned, and exits.
func victim(profile string) {
	runtime.LockOSThread()
	s := &specs.LinuxSeccomp{}
	if err := json.Unmarshal([]byte(profile), s); err != nil {
		panic(err)
	}
	var d defect.List
	p, _ := Compile(s, Env{}, &d)
	if p == nil {
		panic(d.Err())
	}
	watchThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	listener, err := loadFilter(p)
	if err != nil {
		fmt.Println("load:", err)
		os.Exit(3)
	}
	if p.Notify {
		sendToParent(listener)
	}
	r, _, errno := unix.RawSyscall(unix.SYS_GETPRIORITY, 7, 0, 0)
	fmt.Printf("returned %d, errno %d\n", int(r), int(errno))
	os.Exit(0)
}

// sendToParent sends the listener on the socket that the parent gave.
func sendToParent(listener int) {
	if err := unix.Sendmsg(3, []byte("{}"), unix.UnixRights(listener), nil, 0); err != nil {
		panic(err)
	}
	unix.Close(3)
}

// victimProfile is the profile in which a rule of the action is about the
// victim's call; under ALLOW everything else but that is logged.
func victimProfile(a specs.LinuxSeccompAction, errno *uint, args ...specs.LinuxSeccompArg) *specs.LinuxSeccomp {
	s := &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"getpriority"}, Action: a, ErrnoRet: errno, Args: args}},
	}
	if a == specs.ActAllow {
		s.DefaultAction = specs.ActLog
	}
	if a == specs.ActNotify {
		s.ListenerPath = "/agent"
	}
	return s
}

func victimCommand(t *testing.T, s *specs.LinuxSeccomp) *exec.Cmd {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"="+string(raw))
	return cmd
}

// TestVictim runs the victim under each action that the kernel decides alone.
func TestVictim(t *testing.T) {
	if !Available() {
		t.Skip("the kernel has no seccomp filters")
	}
	const untouched = "returned -1, errno 22\n" // EINVAL: 7 is no kind of priority
	for _, tt := range []struct {
		name   string
		s      *specs.LinuxSeccomp
		output string
		signal syscall.Signal
	}{
		{"allow", victimProfile(specs.ActAllow, nil), untouched, 0},
		{"log", victimProfile(specs.ActLog, nil), untouched, 0},
		{"errno", victimProfile(specs.ActErrno, nil), "returned -1, errno 1\n", 0},
		{"errno given", victimProfile(specs.ActErrno, ptr(uint(95))), "returned -1, errno 95\n", 0},
		{"errno 0 skips the call", victimProfile(specs.ActErrno, ptr(uint(0))), "returned 0, errno 0\n", 0},
		{"trace without a tracer", victimProfile(specs.ActTrace, nil), "returned -1, errno 38\n", 0},
		{"kill the process", victimProfile(specs.ActKillProcess, nil), "", unix.SIGSYS},
		{"an argument that matches", victimProfile(specs.ActErrno, nil, arg(0, specs.OpEqualTo, 7)), "returned -1, errno 1\n", 0},
		{"an argument that does not", victimProfile(specs.ActErrno, nil, arg(0, specs.OpLessThan, 7)), untouched, 0},
		{"a masked argument", victimProfile(specs.ActErrno, nil, masked(0, 6, 6)), "returned -1, errno 1\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := victimCommand(t, tt.s).Output()
			if string(out) != tt.output {
				t.Errorf("output %q, want %q", out, tt.output)
			}
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				if st := exit.Sys().(syscall.WaitStatus); !st.Signaled() || st.Signal() != tt.signal || tt.signal == 0 {
					t.Errorf("%v", err)
				}
			} else if err != nil || tt.signal != 0 {
				t.Errorf("error %v, and it should end by signal %d", err, tt.signal)
			}
		})
	}
}

// TestVictimTrap checks that SCMP_ACT_TRAP is a SIGSYS that can be caught: the
// Go runtime catches it and says so.
func TestVictimTrap(t *testing.T) {
	if !Available() {
		t.Skip("the kernel has no seccomp filters")
	}
	cmd := victimCommand(t, victimProfile(specs.ActTrap, nil))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil || len(out) > 0 || !strings.Contains(stderr.String(), "SIGSYS: bad system call") {
		t.Errorf("error %v, output %q, %.200s", err, out, stderr.String())
	}
}

// TestVictimKillThread checks that only the thread ends. The victim's other
// threads, which have no filter, see it go.
func TestVictimKillThread(t *testing.T) {
	if !Available() {
		t.Skip("the kernel has no seccomp filters")
	}
	for _, a := range []specs.LinuxSeccompAction{specs.ActKill, specs.ActKillThread} {
		out, err := victimCommand(t, victimProfile(a, nil)).Output()
		if err != nil || string(out) != "the thread has ended\n" {
			t.Errorf("%s: %v, output %q", a, err, out)
		}
	}
}

// TestVictimTrace is the tracer of a victim: it is told of the call, with the
// number that errnoRet gives, and lets it be made.
func TestVictimTrace(t *testing.T) {
	if !Available() {
		t.Skip("the kernel has no seccomp filters")
	}
	runtime.LockOSThread() // ptrace(2) is between threads
	defer runtime.UnlockOSThread()
	cmd := victimCommand(t, victimProfile(specs.ActTrace, ptr(uint(4321))))
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	var out strings.Builder
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	defer cmd.Process.Kill()
	if _, err := unix.Wait4(cmd.Process.Pid, nil, 0, nil); err != nil { // its execve
		t.Fatal(err)
	}
	const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(cmd.Process.Pid, options); err != nil {
		t.Fatal(err)
	}
	var messages []uint
	for pid, signal := cmd.Process.Pid, 0; ; {
		if err := unix.PtraceCont(pid, signal); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
		var st unix.WaitStatus
		pid, err = unix.Wait4(-1, &st, unix.WALL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if pid == cmd.Process.Pid && st.Exited() {
			break
		}
		signal = 0
		switch {
		case st.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
			message, err := unix.PtraceGetEventMsg(pid)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, message)
		case st.Stopped() && st.StopSignal() != unix.SIGTRAP && st.StopSignal() != unix.SIGSTOP:
			signal = int(st.StopSignal())
		}
	}
	if _, err := io.Copy(&out, read); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(messages, []uint{4321}) || out.String() != "returned -1, errno 22\n" {
		t.Errorf("the tracer was told %d, and the victim says %q", messages, out.String())
	}
}

// TestVictimNotify is the agent of a victim whose call it answers.
func TestVictimNotify(t *testing.T) {
	if !slices.Contains(SupportedActions(), "SCMP_ACT_NOTIFY") {
		t.Skip("the kernel has no SCMP_ACT_NOTIFY")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	agent, theirs := os.NewFile(uintptr(pair[0]), "agent"), os.NewFile(uintptr(pair[1]), "victim")
	defer agent.Close()
	cmd := victimCommand(t, victimProfile(specs.ActNotify, nil))
	cmd.ExtraFiles = []*os.File{theirs}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	defer cmd.Wait()
	defer cmd.Process.Kill()

	listener, err := receiveListener(agent)
	if err != nil {
		t.Fatalf("%v; the victim says %s", err, &out)
	}
	defer unix.Close(listener)
	request, err := receive(listener)
	if err != nil {
		t.Fatal(err)
	}
	if request.Nr != unix.SYS_GETPRIORITY || request.Args[0] != 7 || int(request.Pid) != cmd.Process.Pid {
		t.Errorf("got %+v of %d", request, cmd.Process.Pid)
	}
	if err := answer(listener, request.ID, 77); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || out.String() != "returned 77, errno 0\n" {
		t.Errorf("%v, output %q", err, &out)
	}
}

// receiveListener reads what SendListener sends.
func receiveListener(agent *os.File) (int, error) {
	b, oob := make([]byte, 100), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(agent.Fd()), b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 || string(b[:n]) != "{}" {
		return -1, fmt.Errorf("%q, %d control messages, %v", b[:n], len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("descriptors %v, %v", fds, err)
	}
	return fds[0], nil
}

// TestVictimEngineProfiles loads the engines' profiles into the kernel.
func TestVictimEngineProfiles(t *testing.T) {
	if !Available() {
		t.Skip("the kernel has no seccomp filters")
	}
	for name, s := range engineProfiles(t) {
		out, err := victimCommand(t, s).Output()
		if err != nil || string(out) != "returned -1, errno 22\n" {
			t.Errorf("%s: %v, output %q", name, err, out)
		}
	}
}

func TestSupported(t *testing.T) {
	if !Available() {
		t.Skip("the kernel has no seccomp filters")
	}
	for _, a := range SupportedActions() {
		if !slices.Contains(KnownActions(), a) {
			t.Errorf("%s", a)
		}
	}
	if !slices.Contains(SupportedActions(), "SCMP_ACT_ALLOW") || !slices.Contains(SupportedFlags(), "SECCOMP_FILTER_FLAG_TSYNC") {
		t.Errorf("actions %q, flags %q", SupportedActions(), SupportedFlags())
	}
	if actionAvailable(0x12340000) || flagsAvailable(1<<30) {
		t.Error("the kernel seems to have what does not exist")
	}
}
