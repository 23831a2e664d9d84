package hooks

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleOneThread) != "" {
		if err := oneThread(); err != nil {
			fmt.Println(err)
			unix.Exit(1)
		}
		unix.Exit(0)
	}
	// Whoever runs the tests may have left something open.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	before := openFDs()
	code := m.Run()
	if after := openFDs(); code == 0 && after != before {
		fmt.Printf("file descriptors leaked: %d before the tests, %d after\n", before, after)
		code = 1
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); code == 0 && err != unix.ECHILD {
		fmt.Println("a child was not reaped")
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

// sh is a hook that runs a shell script.
func sh(script string, args ...string) Hook {
	return Hook{Path: "/bin/sh", Args: append([]string{"sh", "-c", script, "sh"}, args...)}
}

// both runs a test with the waiting of the runtime and with that of init.
func both(t *testing.T, f func(t *testing.T, s Site)) {
	for _, one := range []bool{false, true} {
		t.Run(fmt.Sprintf("OneThread=%v", one), func(t *testing.T) {
			if one {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			f(t, Site{OneThread: one})
		})
	}
}

func TestRunInOrder(t *testing.T) {
	both(t, func(t *testing.T, s Site) {
		file := filepath.Join(t.TempDir(), "log")
		hs := []Hook{sh(`echo one >>"$1"`, file), sh(`cat >>"$1"`, file), sh(`echo $0 >>"$1"; cat >>"$1"`, file)}
		hs[2].Args[3] = "zero"
		if err := s.Run("poststart", hs, []byte(`{"id":"x"}`)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if want := "one\n{\"id\":\"x\"}zero\n{\"id\":\"x\"}"; err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
}

func TestRunEndsAtTheFirstFailure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	hs := []Hook{sh("exit 0"), sh("exit 3"), sh(`: >"$1"`, file)}
	for i := range hs {
		hs[i].Index = i
	}
	err := Run("createRuntime", hs, nil)
	if want := "error running createRuntime hook #1: /bin/sh: exit status 3"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the hook after the failing one was run")
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/no/such/shell\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		hook Hook
		dir  string
		want string
		is   error
	}{
		{"stderr", sh("echo to stdout; echo to stderr >&2; exit 7"), "", "/bin/sh: exit status 7: to stdout\nto stderr", nil},
		{"stderr is cut at its beginning", sh("i=0; while [ $i -lt 9000 ]; do echo $i; i=$((i+1)); done; exit 1"), "", "…", nil},
		{"bytes that are no text", sh(`printf 'a\377\n' >&2; exit 1`), "", "/bin/sh: exit status 1: a?", nil},
		{"signal", sh("kill -TERM $$"), "", "/bin/sh: killed by signal 15 (SIGTERM)", nil},
		{"no such file", Hook{Path: "/no/such/hook"}, "", "/no/such/hook: execute it: no such file or directory", unix.ENOENT},
		{"no such interpreter", Hook{Path: script}, "", script + ": execute it: no such file or directory", unix.ENOENT},
		{"a directory", Hook{Path: "/tmp"}, "", "/tmp: execute it: permission denied", unix.EACCES},
		{"no working directory", sh("exit 0"), dir + "/gone", "/bin/sh: change to its working directory: stat " + dir + "/gone: no such file or directory", unix.ENOENT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, s Site) {
				s.Dir = tt.dir
				err := s.Run("poststop", []Hook{tt.hook}, []byte("{}"))
				want := "error running poststop hook #0: " + tt.want
				if tt.want == "…" {
					var e *Error
					if !errors.As(err, &e) || !strings.HasPrefix(e.Output, "…") || !strings.HasSuffix(e.Output, "8998\n8999") || len(e.Output) > maxOutput+4 {
						t.Errorf("error %v", err)
					}
					return
				}
				if err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v is not %v", err, tt.is)
				}
			})
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("GOURD_HOOK_TEST", "own")
	show := `echo "${GOURD_HOOK_TEST-unset} ${OTHER-unset}"; exit 1`
	for _, tt := range []struct {
		name   string
		env    []string
		hasEnv bool
		site   []string
		want   string
	}{
		{"the caller's", nil, false, nil, "own unset"},
		{"the site's", nil, false, []string{"OTHER=site"}, "unset site"},
		{"the site's, empty", nil, false, []string{}, "unset unset"},
		{"the hook's", []string{"OTHER=hook"}, true, []string{"OTHER=site"}, "unset hook"},
		{"the hook's, empty", []string{}, true, []string{"OTHER=site"}, "unset unset"},
		{"the hook's, empty and lost on the way", nil, true, []string{"OTHER=site"}, "unset unset"},
	} {
		h := sh(show)
		h.Env, h.HasEnv = tt.env, tt.hasEnv
		var e *Error
		if err := (Site{Env: tt.site}).Run("poststart", []Hook{h}, nil); !errors.As(err, &e) || e.Output != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		hook Hook
		want string
	}{
		{Hook{Path: "/bin/sh", Args: []string{"other name", "-c", `echo "$0 $1"; exit 1`}}, "other name"},
		{Hook{Path: "/bin/false"}, ""},
	} {
		var e *Error
		if err := Run("poststart", []Hook{tt.hook}, nil); !errors.As(err, &e) || e.Output != tt.want {
			t.Errorf("%q: %v, want %q", tt.hook.Args, err, tt.want)
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	var e *Error
	if err := (Site{Dir: dir}).Run("poststart", []Hook{sh("pwd; exit 1")}, nil); !errors.As(err, &e) || e.Output != dir {
		t.Errorf("%v, want %s", err, dir)
	}
}

// A state larger than any pipe goes to a hook that reads it late, and is no
// trouble with one that does not read it at all, or reads and goes.
func TestLargeState(t *testing.T) {
	state := []byte(strings.Repeat("0123456789abcdef", 1<<16)) // 1 MiB
	both(t, func(t *testing.T, s Site) {
		for _, tt := range []struct{ script, want string }{
			{"wc -c; exit 1", "1048576"},
			{"exit 1", ""},
			{"exec <&-; exit 1", ""},
			{"head -c 100000 | wc -c; exit 1", "100000"},
		} {
			var e *Error
			err := s.Run("poststart", []Hook{sh(tt.script)}, state)
			if !errors.As(err, &e) || e.Output != tt.want || e.Err.Error() != "exit status 1" {
				t.Errorf("%s: %v, want %q", tt.script, err, tt.want)
			}
		}
	})
}

// What a hook writes is no trouble either, however much it is.
func TestLargeOutput(t *testing.T) {
	both(t, func(t *testing.T, s Site) {
		if err := s.Run("poststart", []Hook{sh("head -c 3000000 /dev/zero; cat >/dev/null; head -c 3000000 /dev/zero >&2")}, []byte("{}")); err != nil {
			t.Error(err)
		}
	})
}

// On a timeout the whole process group is killed, the hook's children too.
func TestTimeout(t *testing.T) {
	both(t, func(t *testing.T, s Site) {
		alive, pipe := lifeline(t)
		h := sh("exec 3>"+pipe+"; echo started; sleep 1000 & sleep 1000", pipe)
		h.Timeout = 1
		err := s.Run("prestart", []Hook{h, sh("exit 1")}, nil)
		if want := "error running prestart hook #0: /bin/sh: timed out after 1 s, killed: started"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if !errors.Is(err, ErrTimeout) {
			t.Error("the error is not ErrTimeout")
		}
		if rest, err := alive.ReadString('x'); rest != "" { // at the end of the last writer
			t.Errorf("read %q, %v", rest, err)
		}
	})
}

// A hook that never stops writing does not get around its timeout, and one in
// time is not touched by it.
func TestTimeoutOfABusyHook(t *testing.T) {
	both(t, func(t *testing.T, s Site) {
		h := sh("exec yes")
		h.Timeout = 1
		if err := s.Run("prestart", []Hook{h}, nil); !errors.Is(err, ErrTimeout) {
			t.Errorf("error %v, want ErrTimeout", err)
		}
		h = sh("exit 0")
		h.Timeout = maxTimeout
		if err := s.Run("prestart", []Hook{h}, nil); err != nil {
			t.Error(err)
		}
	})
}

// A background process that keeps the hook's pipes does not keep Run, and is
// not killed when the hook succeeds.
func TestBackgroundProcess(t *testing.T) {
	both(t, func(t *testing.T, s Site) {
		alive, pipe := lifeline(t)
		for _, script := range []string{
			"sleep 1000", // writes nothing
			"trap '' PIPE; while echo; do :; done; exec sleep 1000",
		} {
			h := sh("exec 3>$1; echo $$ >&3; ("+script+") & exit 0", pipe)
			if err := s.Run("poststart", []Hook{h}, []byte("{}")); err != nil {
				t.Error(err)
			}
			line, err := alive.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			group, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Kill(-group, unix.SIGKILL); err != nil {
				t.Errorf("kill the background process: %v", err)
			}
			if rest, err := alive.ReadString('x'); rest != "" {
				t.Errorf("read %q, %v", rest, err)
			}
		}
	})
}

// lifeline returns a FIFO's path and the reader of it, which reads an end of
// file when the last process that has it open for writing has ended.
func lifeline(t *testing.T) (*bufio.Reader, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Opened non-blocking it does not wait for a writer; Go's poller waits in
	// Read instead.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return bufio.NewReader(f), path
}

// The hook gets three fds and nothing else of gourd's, and blocking ones.
func TestFileDescriptors(t *testing.T) {
	var e *Error
	err := Run("poststart", []Hook{sh(`ls /proc/$$/fd; for i in 0 1 2; do grep flags /proc/$$/fdinfo/$i; done; exit 1`)}, []byte("{}"))
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	// On a 64-bit machine the kernel adds O_LARGEFILE to what is opened by
	// path only, so that these are O_RDONLY and O_WRONLY alone.
	want := "0 1 2 flags: 00 flags: 01 flags: 01"
	if got := strings.Join(strings.Fields(e.Output), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// With OneThread no thread is started, however long the hook runs: here there
// may be one more process of this user, the hook, and for a thread the Go
// runtime would throw.
func TestNoThreadIsStarted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: RLIMIT_NPROC is to hit a user that has nothing else running")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleOneThread + "=1", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

const roleOneThread = "GOURD_TEST_ONE_THREAD"

// oneThread is an init with its last thread started, which runs a hook.
func oneThread() error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	st, err := linux.ReadProcStat(os.Getpid())
	if err != nil {
		return err
	}
	limit := uint64(st.Threads + 1)
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	if err := syscall.Setresuid(61235, 61235, 61235); err != nil {
		return err
	}
	return Site{OneThread: true}.Run("startContainer", []Hook{sh("exec sleep 0.1"), sh("exit 0")}, []byte("{}"))
}
