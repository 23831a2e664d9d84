package nsenter

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCgroup(t *testing.T) {
	needRoot(t)
	t.Run("born in it", func(t *testing.T) {
		dir := cgroup(t)
		r := request(t, "look")
		r.CgroupFD = int(dir.Fd())
		if got := cgroup2(run(t, r)); got != "/"+filepath.Base(dir.Name()) && !strings.HasSuffix(got, "/"+filepath.Base(dir.Name())) {
			t.Errorf("cgroup %q, want %s", got, dir.Name())
		}
		r.New = unix.CLONE_NEWCGROUP
		if got := cgroup2(run(t, r)); got != "/" {
			t.Errorf("cgroup %q in its namespace", got)
		}
	})
	t.Run("moved by the parent", func(t *testing.T) {
		dir := cgroup(t)
		r := request(t, "look")
		r.New = unix.CLONE_NEWCGROUP | unix.CLONE_NEWPID | unix.CLONE_NEWUSER
		r.UIDMaps, r.GIDMaps = rootMaps, rootMaps
		moved := 0
		r.BeforeUnshareCgroup = func(pid int) error {
			moved = pid
			return os.WriteFile(dir.Name()+"/cgroup.procs", []byte(itoa(pid)), 0)
		}
		s, pid := runPID(t, r)
		checkNew(t, s, r.New)
		if got := cgroup2(s); got != "/" || moved != pid {
			t.Errorf("cgroup %q in its namespace; moved %d, child %d", got, moved, pid)
		}
	})
}

// noChildren checks that every child has been reaped.
func noChildren(t *testing.T) {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
}

func TestStepErrors(t *testing.T) {
	needRoot(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	user := target(t, unix.CLONE_NEWUSER)[0]
	for _, tt := range []struct {
		name  string
		join  []Join
		errno unix.Errno
		text  string
	}{
		{"closed descriptor", []Join{{unix.CLONE_NEWNET, 9999, "/proc/1/ns/net"}}, unix.EBADF, "join the network namespace /proc/1/ns/net: bad file descriptor"},
		{"no namespace", []Join{{unix.CLONE_NEWUTS, int(null.Fd()), "/dev/null"}}, unix.EINVAL, "join the uts namespace /dev/null: invalid argument"},
		{"in the stub", []Join{{unix.CLONE_NEWPID, int(null.Fd()), "/dev/null"}}, unix.EINVAL, "join the pid namespace /dev/null: invalid argument"},
		{"another kind", []Join{{unix.CLONE_NEWPID, user.FD, user.Path}}, unix.EINVAL, "join the pid namespace " + user.Path + ": invalid argument"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t, "look")
			r.Join = tt.join
			_, err := Start(r)
			var step *StepError
			if !errors.Is(err, tt.errno) || !errors.As(err, &step) || err.Error() != tt.text {
				t.Errorf("got %v, want %s", err, tt.text)
			}
		})
	}
	t.Run("clone", func(t *testing.T) {
		r := request(t, "look")
		r.CgroupFD = int(null.Fd())
		_, err := Start(r)
		var step *StepError
		if want := "clone the child, in its cgroup: bad file descriptor"; !errors.Is(err, unix.EBADF) || !errors.As(err, &step) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestExecErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		path  string
		errno unix.Errno
	}{
		{file("text", "not a program", 0o755), unix.ENOEXEC},
		{file("script", "#!/does/not/exist\n", 0o755), unix.ENOENT},
		{file("plain", "not executable", 0o644), unix.EACCES},
	} {
		t.Run(filepath.Base(tt.path), func(t *testing.T) {
			fd, err := unix.Open(tt.path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			r := request(t)
			r.Exe = os.NewFile(uintptr(fd), tt.path)
			defer r.Exe.Close()
			check := func() {
				t.Helper()
				_, err := Start(r)
				if want := "execute " + tt.path + ": " + tt.errno.Error(); !errors.Is(err, tt.errno) || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				noChildren(t)
			}
			check()
			if os.Geteuid() == 0 { // the second child fails, both are reaped
				r.New, r.Offsets = unix.CLONE_NEWTIME|unix.CLONE_NEWPID, []Offset{{"boottime", 1, 0}}
				check()
			}
		})
	}
}

func TestParentErrors(t *testing.T) {
	needRoot(t)
	t.Run("hook", func(t *testing.T) {
		r := request(t, "look")
		r.BeforeUnshareCgroup = func(int) error { return io.ErrNoProgress }
		if _, err := Start(r); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
		noChildren(t)
	})
	t.Run("map", func(t *testing.T) {
		r := request(t, "look")
		r.New, r.UIDMaps = unix.CLONE_NEWUSER, []IDMap{{0, 0, 0}}
		_, err := Start(r)
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), `uid_map "0 0 0\n": invalid argument`) {
			t.Error(err)
		}
		noChildren(t)
	})
	t.Run("map writer", func(t *testing.T) {
		r := request(t, "look")
		r.New, r.MapWriter = unix.CLONE_NEWUSER, func(int) error { return io.ErrNoProgress }
		if _, err := Start(r); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
		noChildren(t)
	})
	t.Run("killed", func(t *testing.T) {
		r := request(t, "look")
		r.BeforeUnshareCgroup = func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
		_, err := Start(r)
		if err == nil || !strings.Contains(err.Error(), "killed by signal 9 (SIGKILL)") {
			t.Error(err)
		}
		noChildren(t)
	})
}

// TestParentDies checks that a waiting child does not outlive its parent.
func TestParentDies(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "block")
	cmd.Args[0] = helperName
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var buf [32]byte
	n, err := out.Read(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(atoi(t, strings.TrimSpace(string(buf[:n]))), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != unix.EINTR {
			break
		}
	}
}

// TestSignals checks the mask and the actions of a program that has no Go runtime,
// which would change them.
func TestSignals(t *testing.T) {
	cat, err := os.Open("/bin/cat")
	if err != nil {
		t.Skip(err)
	}
	defer cat.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.Sigset_t
	block := unix.Sigset_t{}
	block.Val[0] = 1 << (unix.SIGUSR1 - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }()
	ignored := []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}
	signal.Ignore(ignored...)
	defer signal.Reset(ignored...)

	status := func(start func(Request) (*Child, error)) string {
		t.Helper()
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		r := Request{CgroupFD: -1, Exe: cat, Args: []string{"cat", "/proc/self/status"}, Stdio: [3]int{-1, int(in.Fd()), -1}}
		c, err := start(r)
		in.Close()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(out)
		waitExit(t, c, 0)
		return string(b)
	}
	for name, start := range map[string]func(Request) (*Child, error){
		"Start": Start, "without clone3": forced(func(h *how) { h.clone3 = false }), "with the stub": forced(func(h *how) { h.stub = true }),
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, nil); err != nil {
				t.Fatal(err)
			}
			got := status(start)
			for _, want := range []string{
				"SigBlk:\t0000000000000200\n", "SigIgn:\t0000000000000000\n", "SigCgt:\t0000000000000000\n",
			} {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in\n%s", want, got)
				}
			}
			var now unix.Sigset_t
			if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &now); err != nil || now.Val[0] != block.Val[0]|old.Val[0] {
				t.Errorf("our own mask is %#x afterwards (%v)", now.Val[0], err)
			}
		})
	}
}

func TestNofileRestored(t *testing.T) {
	if os.Getenv("NSENTER_NOFILE") != "" {
		r := request(t, "look")
		if got := run(t, r).Nofile; got != [2]uint64{512, 4096} {
			t.Errorf("the child was born with %d", got)
		}
		if got := OriginalNofile(); got != (unix.Rlimit{Cur: 512, Max: 4096}) {
			t.Errorf("OriginalNofile returns %v", got)
		}
		var now syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil || now.Cur == 512 {
			t.Errorf("our own soft limit is %d (%v): Go has not raised it, and this test shows nothing", now.Cur, err)
		}
		return
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 512 && ulimit -Hn 4096 && exec "$0" -test.run='^TestNofileRestored$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "NSENTER_NOFILE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
