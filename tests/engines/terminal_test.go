package engines

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
)

// A session is a command that runs in a terminal of its own.
type session struct {
	world.Console
	cmd *exec.Cmd
}

var (
	sessionsMu sync.Mutex
	sessions   = map[*testscript.TestScript]map[string]*session{}
)

// cmdTerminal is a person's terminal:
//
//	terminal NAME run COMMAND ARG...  runs COMMAND in a new one, in the background
//	terminal NAME expect REGEXP       and more: see world.Console
//	terminal NAME await [CODE]        the command has ended, with this exit code
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] == "run" && len(args) < 3 {
		ts.Fatalf("usage: terminal NAME run|expect|send|resize|await ARG...")
	}
	sessionsMu.Lock()
	defer sessionsMu.Unlock()
	if sessions[ts] == nil {
		sessions[ts] = map[string]*session{}
		ts.Defer(func() { endSessions(ts) })
	}
	name, verb, rest := args[0], args[1], args[2:]
	s := sessions[ts][name]
	if s == nil && verb != "run" {
		ts.Fatalf("no terminal %q", name)
	}
	switch verb {
	case "run":
		master, slave, err := world.OpenTerminal()
		ts.Check(err)
		defer slave.Close()
		cmd := exec.Command(rest[0], rest[1:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "TERM=xterm")
		for _, k := range []string{"DOCKER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERD_ADDRESS", "CRI", "BUILDAH_RUNTIME"} {
			if v := ts.Getenv(k); v != "" {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		ts.Check(cmd.Start())
		sessions[ts][name] = &session{world.Console{File: master}, cmd}
	case "await":
		// (A monitor of the engine may have the terminal open for longer.)
		ended, err := world.WaitExit(s.cmd.Process.Pid, world.Soon())
		ts.Check(err)
		if !ended {
			ts.Fatalf("terminal %s: %s has not ended", name, s.cmd)
		}
		s.cmd.Wait()
		s.File.Close()
		delete(sessions[ts], name)
		if code := s.cmd.ProcessState.ExitCode(); len(rest) > 0 && strconv.Itoa(code) != rest[0] {
			ts.Fatalf("terminal %s: exit code %d, want %s", name, code, rest[0])
		}
	default:
		shown, err := s.Do(verb, rest)
		if err != nil {
			ts.Fatalf("terminal %s: %s %s: %v", name, verb, strings.Join(rest, " "), err)
		}
		fmt.Fprint(ts.Stdout(), shown)
	}
}

// endSessions ends what a script that failed has left in its terminals.
func endSessions(ts *testscript.TestScript) {
	sessionsMu.Lock()
	defer sessionsMu.Unlock()
	for _, s := range sessions[ts] {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.File.Close()
	}
	delete(sessions, ts)
}

// commands are the words that scripts have besides testscript's own.
var commands = map[string]func(*testscript.TestScript, bool, []string){"terminal": cmdTerminal, "cri": cmdCRI, "image": cmdImage, "pod": cmdPod}
