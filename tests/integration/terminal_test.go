package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdTerminal is a person's terminal:
//
//	terminal NAME COMMAND ARG...  runs COMMAND in a new one of 24 rows and 80 columns
//	terminal NAME is raw|cooked   whether it hands on each key as it is
//
// The command leads the terminal's session, as a login shell does, and is in
// the background: console NAME types and reads, await NAME waits for its end.
// So that the end of the session does not change the settings that a test wants
// to look at, the command is to be a shell that runs the runtime.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: terminal NAME COMMAND ARG... | terminal NAME is raw|cooked")
	}
	d, name := driverOf(ts), args[0]
	if args[1] == "is" {
		checkTerminal(ts, d.sockets[name], args[2:])
		return
	}
	if d.jobs[name] != nil || d.sockets[name] != nil {
		ts.Fatalf("there is a terminal %q already", name)
	}
	master, slave, err := world.OpenTerminal()
	ts.Check(err)
	defer slave.Close()
	d.outputs++
	none := filepath.Join(d.work, ".out", strconv.Itoa(d.outputs)+".terminal")
	ts.Check(os.WriteFile(none, nil, 0o644))

	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = []string{"TERM=dumb", "PS1=prompt> "}
	for _, k := range append([]string{"RUNTIME", "ROOT", "WORK"}, passedOn...) {
		if v := ts.Getenv(k); v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	ts.Check(cmd.Start())
	d.jobs[name] = &job{cmd: cmd, out: none, errOut: none, ownOut: true}
	d.sockets[name] = &fdSocket{Console: world.Console{File: master}}
}

func checkTerminal(ts *testscript.TestScript, s *fdSocket, args []string) {
	if s == nil || s.File == nil || len(args) != 1 {
		ts.Fatalf("usage: terminal NAME is raw|cooked")
	}
	t, err := unix.IoctlGetTermios(int(s.File.Fd()), unix.TCGETS) // of a master: the slave's
	ts.Check(err)
	const cooked = unix.ICANON | unix.ISIG | unix.ECHO
	is := "mixed"
	switch t.Lflag & cooked {
	case 0:
		is = "raw"
	case cooked:
		is = "cooked"
	}
	if is != args[0] {
		ts.Fatalf("the terminal is %s: %s", is, strings.TrimSpace(fmt.Sprintf("%+v", *t)))
	}
}
