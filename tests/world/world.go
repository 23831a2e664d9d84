// Package world runs a part of a test in a small world of its own: new pid,
// mount and cgroup namespaces, a cgroup v2 tree that looks like a pure v2
// host, an empty /run. The machine underneath stays as it was, a test that
// fails or hangs leaves nothing, and what the code under test forgot can be
// counted exactly, since nothing else lives there.
//
// It does not bound networking, and it is no security boundary: root inside is
// root outside.
package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stageVar tells a re-executed test binary which part it plays.
const stageVar = "GOURD_TEST_STAGE"

// The parts: pid 1 of the world, and its only child, which runs the inside.
const (
	stageInit   = "init"
	stageInside = "inside"
	stageUser   = "user" // the same, executed again as the ordinary user's
)

// resultFD is where an inside writes its result.
const resultFD = 3

// Limit is how long one world may live before it is taken for hung. It is a
// guard, nothing is measured against it: GOURD_TEST_PATIENCE (a factor)
// stretches it for slow machines.
const Limit = 2 * time.Minute

// An Inside is the function that runs in a world. arg is what Run was given.
type Inside func(t *T, arg string)

// A Preparation is what root does in a world before its inside runs, for what an
// ordinary user cannot do. arg is what Run was given.
type Preparation func(w Way, arg string) error

// result is what an inside tells the test that made its world.
type result struct {
	Failed  bool
	Skipped bool
	Reason  string
	Log     string
}

// Main runs the tests of m, or, where this process was re-executed as a part
// of a world, plays that part. Call it as the whole of TestMain. insides are
// the functions that Run may name.
func Main(m *testing.M, insides map[string]Inside, prepare ...Preparation) {
	switch stage := os.Getenv(stageVar); stage {
	case "":
		code := m.Run()
		if err := takeBack(); err != nil {
			fmt.Fprintln(os.Stderr, "world: the cgroup of the worlds could not be removed:", err)
			code = max(code, 1)
		}
		os.Exit(code)
	case stageInit:
		os.Exit(runInit())
	case stageInside, stageUser:
		os.Exit(runInside(stage, insides, prepare))
	default:
		fmt.Fprintf(os.Stderr, "world: unknown %s=%q\n", stageVar, os.Getenv(stageVar))
		os.Exit(2)
	}
}

// count numbers the worlds of this process, for the names of their cgroups.
var count atomic.Int64

// Run makes a world, runs the named inside there with arg, and gives t its
// result. It skips where the caller is not root.
func Run(t *testing.T, inside, arg string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a world needs root: pid, mount and cgroup namespaces")
	}
	way, err := TheWay()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := openTree()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	tree.reap()
	name := fmt.Sprintf("%s%d-%d", cgroupPrefix, os.Getpid(), count.Add(1))
	var cg *os.File
	if way == Rootless {
		parent, err := delegated()
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(parent, name)
		if err := asUser(func() error { cg, err = tree.make(name); return err }); err != nil {
			t.Fatal(err)
		}
	} else {
		cg, err = tree.make(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tree.remove(name); err != nil {
			t.Errorf("the cgroup of the world could not be removed: %v", err)
		}
	}()
	defer cg.Close()

	out, err := os.CreateTemp("", "gourd-world-")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := os.Remove(out.Name()); err != nil {
		t.Fatal(err)
	}

	limit := Limit * time.Duration(patience())
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// /proc/self/exe would be the child's own link, of the same file.
	cmd := exec.CommandContext(ctx, "/proc/self/exe", inside, arg)
	cmd.Env = append(os.Environ(),
		stageVar+"="+stageInit,
		"GOURD_TEST_DEADLINE="+strconv.FormatInt(time.Now().Add(limit*9/10).Unix(), 10))
	cmd.ExtraFiles = []*os.File{out}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UseCgroupFD: true,
		CgroupFD:    int(cg.Fd()),
		Pdeathsig:   unix.SIGKILL,
	}
	// Pdeathsig follows the thread that clones, so that thread must stay.
	runtime.LockOSThread()
	runErr := cmd.Run()
	runtime.UnlockOSThread()

	var r result
	data, err := readFromStart(out)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	log := strings.TrimSpace(r.Log + "\n" + said.String())
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		t.Fatalf("the world was ended after %v:\n%s", limit, log)
	case err != nil:
		t.Fatalf("the world gave no result (%v; %v):\n%s", runErr, err, log)
	case r.Failed || runErr != nil:
		t.Fatalf("%s\n%v", log, runErr)
	case r.Skipped:
		t.Skip(r.Reason)
	}
	if testing.Verbose() {
		t.Log(log)
	}
}

// patience returns the factor by which the guards against hanging are
// stretched, at least 1.
func patience() int {
	n, err := strconv.Atoi(os.Getenv("GOURD_TEST_PATIENCE"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Deadline returns when this world will be ended, less a little for
// telling why. Outside of a world it is far away.
func Deadline() time.Time {
	s, err := strconv.ParseInt(os.Getenv("GOURD_TEST_DEADLINE"), 10, 64)
	if err != nil {
		return time.Now().Add(24 * time.Hour)
	}
	return time.Unix(s, 0)
}

// Soon returns when a wait inside of a world for one thing should be given up:
// long after it ought to have happened, and before the world is ended.
func Soon() time.Time {
	soon := time.Now().Add(20 * time.Second * time.Duration(patience()))
	if d := Deadline(); d.Before(soon) {
		return d
	}
	return soon
}

func readFromStart(f *os.File) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	_, err = f.ReadAt(b, 0)
	if st.Size() == 0 {
		return nil, errors.New("empty")
	}
	return b, err
}
