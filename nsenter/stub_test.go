package nsenter

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestLayout checks what the assembly and the linking of images both rely on.
func TestLayout(t *testing.T) {
	if unsafe.Sizeof(header{}) != headerSize || unsafe.Sizeof(op{}) != opSize ||
		unsafe.Offsetof(header{}.index) != failIndex || unsafe.Offsetof(header{}.mask) != maskAt ||
		unsafe.Offsetof(cloneArgs{}.setTID) != cloneArgsSize0 || unsafe.Sizeof(cloneArgs{}) != cloneArgsSize2 {
		t.Error("a struct does not have the size or the offset that is assumed")
	}
}

// tiny returns a stub that says hello on 1 and exits with the status that a
// failing step was allowed to lead to.
func tiny(t *testing.T, status int) []byte {
	t.Helper()
	var table Table
	table.Call("say hello", unix.SYS_WRITE, Num(1), table.Bytes("hello\n"), Num(6))
	fd := table.Cell()
	table.Call("duplicate 1", unix.SYS_FCNTL, Num(1), Num(unix.F_DUPFD), Num(50)).Save = fd
	table.Call("say more", unix.SYS_WRITE, fd.Value(), table.Bytes("more\n"), Num(5))
	// Allowed to fail, with a jump over what must not happen.
	s := table.Call("close what is not open", unix.SYS_CLOSE, Num(99))
	s.Allow, s.Target = errnos(unix.EBADF), 5
	table.Call("not reached", unix.SYS_EXIT_GROUP, Num(1))
	table.Add(Step{Kind: Jump, Args: [6]Arg{fd, Num(50)}, Target: 7, Why: "50 was free"})
	table.Call("not reached", unix.SYS_EXIT_GROUP, Num(2))
	table.Call("exit", unix.SYS_EXIT_GROUP, Num(status))
	b, err := Stub(&table, 1, 0)
	if err != nil {
		t.Skip(err)
	}
	return b
}

func execStub(t *testing.T, b []byte) (out []byte, status int) {
	t.Helper()
	f, err := immutable("tiny", func(fd int) error {
		_, err := unix.Pwrite(fd, b, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/proc/self/fd/" + itoa(int(f.Fd())))
	var buf bytes.Buffer
	cmd.Stdout = &buf
	_ = cmd.Run()
	return buf.Bytes(), cmd.ProcessState.ExitCode()
}

func TestStub(t *testing.T) {
	b := tiny(t, 42)
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X {
			t.Error("a segment is writable and executable")
		}
		if p.Type == elf.PT_LOAD && (p.Vaddr-p.Off)%p.Align != 0 {
			t.Error("a segment's address and offset differ in the page")
		}
	}
	out, status := execStub(t, b)
	if string(out) != "hello\nmore\n" || status != 42 {
		t.Errorf("output %q, status %d", out, status)
	}
}

// TestStubReports checks the ends that a table should not have.
func TestStubReports(t *testing.T) {
	for name, tt := range map[string]struct {
		kind  Kind
		trap  uintptr
		args  [6]Arg
		allow uint64
		want  int64
	}{
		"errno":              {Call, unix.SYS_CLOSE, [6]Arg{Num(99)}, errnos(unix.EPERM), -int64(unix.EBADF)},
		"errno of 64 and on": {Call, unix.SYS_SENDTO, [6]Arg{Num(0)}, ^uint64(1), -int64(unix.ENOTSOCK)},
		"end of file":        {Wait, unix.SYS_READ, [6]Arg{Num(0), Num(0), Num(1)}, 0, -int64(unix.EPIPE)},
	} {
		t.Run(name, func(t *testing.T) {
			table := Table{First: 7}
			table.Call("nothing", unix.SYS_GETPID)
			table.Add(Step{Kind: tt.kind, Trap: tt.trap, Args: tt.args, Allow: tt.allow})
			b, err := Stub(&table, 3, 0)
			if err != nil {
				t.Skip(err)
			}
			f, err := immutable("tiny", func(fd int) error {
				_, err := unix.Pwrite(fd, b, 0)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			parent, child := os.NewFile(uintptr(ends[0]), "parent"), os.NewFile(uintptr(ends[1]), "child")
			defer parent.Close()
			cmd := exec.Command("/proc/self/fd/" + itoa(int(f.Fd())))
			cmd.ExtraFiles = []*os.File{child} // becomes 3; standard input is /dev/null
			_ = cmd.Run()
			child.Close()
			msg, err := io.ReadAll(parent)
			if err != nil || len(msg) != messageSize {
				t.Fatalf("message %q (%v), %v", msg, err, cmd.ProcessState)
			}
			index, value := binary.LittleEndian.Uint64(msg), int64(binary.LittleEndian.Uint64(msg[8:]))
			if index != 8 || value != tt.want || cmd.ProcessState.ExitCode() != exitFailed {
				t.Errorf("step %d failed with %d, want 8 with %d; %v", index, value, tt.want, cmd.ProcessState)
			}
		})
	}
}

// TestFailureRestoresMask checks that a failed child can be ended by a signal:
// one is pending when the mask is given back.
func TestFailureRestoresMask(t *testing.T) {
	var table Table
	all := table.Words(^uint64(0))
	table.Call("block", unix.SYS_RT_SIGPROCMASK, Num(unix.SIG_SETMASK), all, Num(0), Num(8))
	pid := table.Cell()
	table.Call("getpid", unix.SYS_GETPID).Save = pid
	table.Call("kill", unix.SYS_KILL, pid.Value(), Num(int(unix.SIGUSR1)))
	table.Call("fail", unix.SYS_CLOSE, Num(-1))
	b, err := Stub(&table, 1, 0)
	if err != nil {
		t.Skip(err)
	}
	if _, status := execStub(t, b); status != -1 {
		t.Errorf("exit status %d, want a death by SIGUSR1", status)
	}
}

// TestStubFileIsBornUndumpable: there is no instant in which another process with
// the same ids could look into it, also for root, and for root of a user namespace
// that has made the file itself.
func TestStubFileIsBornUndumpable(t *testing.T) {
	if b, _ := os.ReadFile("/proc/sys/fs/suid_dumpable"); string(b) == "1\n" {
		t.Skip("fs.suid_dumpable is 1: such programs are to be dumpable")
	}
	credential := func(id uint32) *syscall.Credential {
		if os.Geteuid() != 0 {
			return nil // we are what we are
		}
		return &syscall.Credential{Uid: id, Gid: id}
	}
	root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	userns := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: root, GidMappings: root}
	for _, tt := range []struct {
		name, caps string
		attr       *syscall.SysProcAttr
		want       int
	}{
		{"root", "without", &syscall.SysProcAttr{Credential: credential(0)}, 0},
		{"an ordinary user", "with", &syscall.SysProcAttr{Credential: credential(nobody)}, 0},
		{"root of a user namespace", "without", userns, 0},
		// What the capabilities are put aside for.
		{"root with its capabilities", "with", userns, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "dumpable", tt.caps)
			cmd.Args[0] = helperName
			cmd.Stderr = os.Stderr
			cmd.SysProcAttr = tt.attr
			if err := cmd.Run(); cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != tt.want {
				t.Errorf("PR_GET_DUMPABLE returns %d, want %d", got, tt.want)
			}
		})
	}
}

// TestJoiningProcessShowsNothing looks at a child while it is in the
// namespaces: its /proc/PID/exe is the stub, and it is not dumpable
// (CVE-2019-5736, CVE-2016-9962).
func TestJoiningProcessShowsNothing(t *testing.T) {
	needRoot(t)
	joins := target(t, unix.CLONE_NEWUSER|unix.CLONE_NEWPID)
	r := request(t)
	r.Join = joins
	// The program is a stub that reports and waits: what is executed last
	// comes from a memfd, too, so that it stays undumpable.
	exe, err := Self(true)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdin, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Exe, r.Args, r.Stdio = exe, []string{helperName, "wait"}, [3]int{int(stdin.Fd()), int(in.Fd()), -1}
	c, err := Start(r)
	stdin.Close()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { hold.Close(); waitExit(t, c, 0) }()
	link, err := os.Readlink("/proc/" + itoa(c.PID) + "/exe")
	if err != nil || !strings.HasPrefix(link, "/memfd:gourd") {
		t.Errorf("exe is %q (%v)", link, err)
	}
	// The files of an undumpable process belong to the host's root, not to
	// the container's (100000).
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+itoa(c.PID)+"/fd", &st); err != nil || st.Uid != 0 {
		t.Errorf("the fd directory belongs to %d (%v)", st.Uid, err)
	}
	status, err := os.ReadFile("/proc/" + itoa(c.PID) + "/status")
	if err != nil || !strings.Contains(string(status), "Uid:\t100000") {
		t.Errorf("status %s (%v)", status, err)
	}
	// Root of the container, with all its capabilities, may not look at it.
	probe := request(t, "peek", itoa(c.PID))
	probe.Join = []Join{joins[0]}
	p, err := Start(probe)
	if err != nil {
		t.Fatal(err)
	}
	waitExit(t, p, 0)
}

// TestStubJoins looks at the process that has joined and has not executed the
// program yet: it is the stub, no file of the host.
func TestStubJoins(t *testing.T) {
	needRoot(t)
	r := request(t, "look")
	r.Join = target(t, unix.CLONE_NEWPID)
	r.New = unix.CLONE_NEWUSER
	var exe, name string
	r.MapWriter = func(pid int) error {
		exe, _ = os.Readlink("/proc/" + itoa(pid) + "/exe")
		b, _ := os.ReadFile("/proc/" + itoa(pid) + "/comm")
		name = string(b)
		maps := Request{UIDMaps: rootMaps, GIDMaps: rootMaps}
		return writeMaps(&maps, pid)
	}
	checkJoined(t, run(t, r), r.Join)
	if !strings.HasPrefix(exe, "/memfd:gourd-nsenter") || name != childName+"\n" {
		t.Errorf("the child's exe is %q, its name %q", exe, name)
	}
}
