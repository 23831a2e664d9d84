package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// A job is a runtime that runs, its output going to files. (To files, not
// pipes: a detached container keeps them open after the runtime has ended.)
type job struct {
	cmd         *exec.Cmd
	out, errOut string
	ownOut      bool // the script named the file itself
}

// passedOn are the variables of the script that the runtime sees.
var passedOn = []string{"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"}

// cmdRuntime is "runtime ARGS... [<FILE] [>FILE] [2>FILE] [&NAME&]": runs the
// runtime under test with --root $ROOT. What it and its container write is
// there for stdout and stderr when the runtime has ended.
func cmdRuntime(ts *testscript.TestScript, neg bool, args []string) {
	finish(ts, neg, startRuntime(ts, args))
}

// cmdExits is "exits CODE runtime|await ...".
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE runtime|await ...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var j *job
	switch args[1] {
	case "runtime":
		j = startRuntime(ts, args[2:])
	case "await":
		j = takeJob(ts, args[2:])
	default:
		ts.Fatalf("exits cannot run %q", args[1])
	}
	if j == nil {
		ts.Fatalf("exits cannot see a runtime in the background end; use await")
	}
	if code := waitJob(ts, j); code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// cmdAwait is "await NAME": waits for a runtime in the background.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	finish(ts, neg, takeJob(ts, args))
}

// cmdSignal is "signal NAME SIGNAL": sends it to a runtime in the background.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME SIGNAL")
	}
	j := driverOf(ts).jobs[args[0]]
	if j == nil {
		ts.Fatalf("no runtime %q in the background", args[0])
	}
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(args[1], "SIG"))
	if sig == 0 {
		ts.Fatalf("unknown signal %q", args[1])
	}
	ts.Check(j.cmd.Process.Signal(sig))
}

func takeJob(ts *testscript.TestScript, args []string) *job {
	if len(args) != 1 {
		ts.Fatalf("usage: await NAME")
	}
	d := driverOf(ts)
	j := d.jobs[args[0]]
	if j == nil {
		ts.Fatalf("no runtime %q in the background", args[0])
	}
	delete(d.jobs, args[0])
	return j
}

func finish(ts *testscript.TestScript, neg bool, j *job) {
	if j == nil {
		return // in the background
	}
	code := waitJob(ts, j)
	if neg == (code != 0) {
		return
	}
	if neg {
		ts.Fatalf("unexpected success")
	}
	ts.Fatalf("exit code %d", code)
}

// waitJob waits for the runtime and shows what it wrote. The code is its exit
// code, or 128 plus the signal that ended it.
func waitJob(ts *testscript.TestScript, j *job) int {
	ended, err := world.WaitExit(j.cmd.Process.Pid, world.Soon())
	ts.Check(err)
	if !ended {
		// QUIT makes a program in Go say where it stands, unless it passes
		// signals on.
		ts.Check(j.cmd.Process.Signal(unix.SIGQUIT))
		if said, err := world.WaitExit(j.cmd.Process.Pid, time.Now().Add(time.Second)); err != nil || !said {
			ts.Check(j.cmd.Process.Kill())
		}
		defer ts.Fatalf("the runtime hung")
	}
	err = j.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("wait for the runtime: %v", err)
	}
	if !j.ownOut {
		out := ts.ReadFile(j.out)
		fmt.Fprint(ts.Stdout(), out)
		ts.Check(os.WriteFile(filepath.Join(driverOf(ts).work, ".out", "last"), []byte(out), 0o644))
	}
	fmt.Fprint(ts.Stderr(), ts.ReadFile(j.errOut))
	if ws := j.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return j.cmd.ProcessState.ExitCode()
}

// twoWays are the verbs with --via-init.
var twoWays = []string{"create", "run", "exec"}

// verbAt returns the index of the verb in a command line that may begin with global
// flags, of which some have a value.
func verbAt(args []string) int {
	for i, a := range args {
		value := i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.Contains(args[i-1], "=")
		if slices.Contains(twoWays, a) || !value && !strings.HasPrefix(a, "-") {
			return i
		}
	}
	return 0
}

// startRuntime starts the runtime; it returns nil where that stays in the
// background.
func startRuntime(ts *testscript.TestScript, args []string) *job {
	d := driverOf(ts)
	d.outputs++
	base := filepath.Join(d.work, ".out", strconv.Itoa(d.outputs))
	j := &job{out: base + ".stdout", errOut: base + ".stderr"}
	in, name := os.DevNull, ""
	rest := []string{"--root", ts.Getenv("ROOT")}
	for _, a := range args {
		switch {
		case strings.HasPrefix(a, "2>"):
			j.errOut = ts.MkAbs(a[2:])
		case strings.HasPrefix(a, ">"):
			j.out, j.ownOut = ts.MkAbs(a[1:]), true
		case strings.HasPrefix(a, "<"):
			in = ts.MkAbs(a[1:])
		case len(a) > 2 && strings.HasPrefix(a, "&") && strings.HasSuffix(a, "&"):
			name = strings.Trim(a, "&")
		default:
			rest = append(rest, a)
		}
	}
	// An exec with a global flag is left alone: a script wants to see which way it goes.
	if i := verbAt(rest[2:]) + 2; os.Getenv(viaInitEnv) != "" && slices.Contains(twoWays, rest[i]) && (rest[i] != "exec" || i == 2) {
		rest = slices.Insert(rest, i+1, os.Getenv(viaInitEnv))
	}
	// Who runs containers in a user namespace gives them their standard output.
	own := func(f *os.File) {
		if d.ways.way == world.Userns {
			ts.Check(f.Chown(d.ways.uids[0].HostID, d.ways.gids[0].HostID))
		}
	}
	stdin, err := os.Open(in)
	ts.Check(err)
	defer stdin.Close()
	stdout, err := os.OpenFile(j.out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	ts.Check(err)
	defer stdout.Close()
	own(stdout)
	stderr := stdout
	if j.errOut != j.out {
		stderr, err = os.OpenFile(j.errOut, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		ts.Check(err)
		defer stderr.Close()
		own(stderr)
	}
	settleIDs(ts)
	j.cmd = exec.Command(d.runtime.Path, rest...)
	j.cmd.Dir = ts.MkAbs(".")
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = stdin, stdout, stderr
	for _, k := range passedOn {
		if v := ts.Getenv(k); v != "" {
			j.cmd.Env = append(j.cmd.Env, k+"="+v)
		}
	}
	ts.Check(j.cmd.Start())
	if name == "" {
		return j
	}
	if d.jobs[name] != nil {
		ts.Fatalf("there is a runtime %q in the background already", name)
	}
	d.jobs[name] = j
	return nil
}
