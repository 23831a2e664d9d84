package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// state is what scripts look at in the runtime's state output.
type state struct {
	Status string `json:"status"`
	Pid    int    `json:"pid"`
}

// stateOf asks the runtime for the container's state.
func stateOf(ts *testscript.TestScript, id string) state {
	j := startRuntime(ts, []string{"state", id})
	if code := waitJob(ts, j); code != 0 {
		ts.Fatalf("state %s: exit code %d", id, code)
	}
	var s state
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(j.out)), &s))
	return s
}

// cmdStatus is "status ID WORD": the container's status is WORD.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: status ID STATUS")
	}
	got := stateOf(ts, args[0]).Status
	if (got == args[1]) == neg {
		ts.Fatalf("status of %s is %q", args[0], got)
	}
}

// cmdPid is "pid ID [VAR]": sets $PID, or another variable, to the pid of the
// container's init.
func cmdPid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: pid ID [VAR]")
	}
	name := "PID"
	if len(args) == 2 {
		name = args[1]
	}
	s := stateOf(ts, args[0])
	if s.Pid == 0 {
		ts.Fatalf("container %s has no process (%s)", args[0], s.Status)
	}
	ts.Setenv(name, strconv.Itoa(s.Pid))
}

// cmdJSON is "json JQ": jq's answer to JQ on the last standard output is
// true.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: json jq expression")
	}
	text := ts.ReadFile("stdout")
	cmd := exec.Command("jq", "-e",
		"--arg", "WORK", ts.Getenv("WORK"), "--arg", "PID", ts.Getenv("PID"), "--arg", "OWNER", ts.Getenv("OWNER"), args[0])
	cmd.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	cmd.Stderr, cmd.Stdout = &said, &said
	err := cmd.Run()
	fmt.Fprint(ts.Stdout(), text) // so that several can follow each other
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 1 {
		ts.Fatalf("jq: %v: %s\n%s", err, said.String(), text)
	}
	if (err == nil) == neg {
		ts.Fatalf("%s is %sof:\n%s", args[0], said.String(), text)
	}
}

// cmdWaitExit is "waitexit ID...": waits until the containers' processes have
// ended.
func cmdWaitExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: waitexit ID...")
	}
	for _, id := range args {
		pid := stateOf(ts, id).Pid
		if pid == 0 {
			continue
		}
		ended, err := world.WaitExit(pid, world.Soon())
		ts.Check(err)
		if !ended {
			ts.Fatalf("container %s has not ended", id)
		}
	}
}

// cmdGone is "gone FILE": the process whose pid FILE holds has ended, or does
// so shortly; "! gone FILE": it is there.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	until := world.Soon()
	if neg {
		until = time.Now()
	}
	ended, err := world.WaitExit(pid, until)
	ts.Check(err)
	if ended == neg {
		ts.Fatalf("process %d: ended is %v", pid, ended)
	}
}

// cmdWaitLine is "waitline FILE REGEXP": waits (inotify) until FILE has a line
// that matches.
func cmdWaitLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitline FILE REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	waitFile(ts, args[0], "never had a line that matches "+strconv.Quote(args[1]), re.Match)
}

// cmdHold is "hold DIR": the process that the word loops of the jq prelude made
// stands still until "release DIR", with none of its files open. One that is saved
// in the middle of an echo would need the file again as it was.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(filepath.Join(dir, "hold"), nil, 0o644))
	waitFile(ts, filepath.Join(dir, "held"), "was never made", func(data []byte) bool { return data != nil })
}

// cmdRelease is "release DIR": lets a process go on that is held, or was when it
// was saved.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: release DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Remove(filepath.Join(dir, "held")))
	ts.Check(os.Remove(filepath.Join(dir, "hold")))
}

// waitFile waits (inotify) until the contents of file are as wanted: nil when it
// is not there.
func waitFile(ts *testscript.TestScript, file, never string, wanted func(data []byte) bool) {
	name := ts.MkAbs(file)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	ts.Check(err)
	defer unix.Close(fd)
	// The directory first, as the file may not be there yet.
	_, err = unix.InotifyAddWatch(fd, filepath.Dir(name), unix.IN_CREATE|unix.IN_MODIFY|unix.IN_MOVED_TO)
	ts.Check(err)
	for {
		data, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			ts.Fatalf("%v", err)
		}
		if wanted(data) {
			return
		}
		some, err := world.WaitReadable(fd, world.Soon())
		ts.Check(err)
		if !some {
			ts.Fatalf("%s %s:\n%s", file, never, data)
		}
		buf := make([]byte, 4096)
		_, err = unix.Read(fd, buf)
		ts.Check(err)
	}
}

// cmdSnapshot is "snapshot NAME": remembers all that could be left behind.
func cmdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: snapshot NAME")
	}
	before, err := world.Take("/run")
	ts.Check(err)
	driverOf(ts).before[args[0]] = before
}

// cmdUnchanged is "unchanged NAME [but-DIR]...": nothing was left behind since.
// (What the script's commands wrote does not count. Nor does what is in a
// directory called rootfs with but-rootfs, for a container that was created: the
// places for its mounts stay there; and under runc, which leaves them after a
// failed create.)
func cmdUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: unchanged NAME [but-DIR]...")
	}
	var but []string
	for _, a := range args[1:] {
		dir, ok := strings.CutPrefix(a, "but-")
		if !ok {
			ts.Fatalf("usage: unchanged NAME [but-DIR]...")
		}
		but = append(but, dir)
	}
	d := driverOf(ts)
	before, ok := d.before[args[0]]
	if !ok {
		ts.Fatalf("no snapshot %q", args[0])
	}
	changes, err := before.Since("/run")
	ts.Check(err)
	own := " file " + filepath.Join(d.work, ".out") + "/"
	if d.runtime.Kind == "runc" {
		but = append(but, "rootfs")
	}
	changes = slices.DeleteFunc(changes, func(l string) bool {
		return strings.Contains(l, own) || slices.ContainsFunc(but, func(dir string) bool { return strings.Contains(l, "/"+dir+"/") })
	})
	if len(changes) > 0 {
		ts.Fatalf("changed since snapshot %s:\n%s", args[0], strings.Join(changes, "\n"))
	}
}
