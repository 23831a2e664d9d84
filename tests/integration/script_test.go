package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// A driver is what the commands of one script share.
type driver struct {
	runtime world.Runtime
	ways    ways
	work    string               // $WORK
	jobs    map[string]*job      // runtimes in the background
	sockets map[string]*fdSocket // console and pidfd sockets
	agents  map[string]*agent    // seccomp agents
	before  map[string]world.Snapshot
	mounts  []string // to be unmounted at the end, last first
	outputs int      // numbers the files that runtimes write to
}

type driverKey struct{}

func driverOf(ts *testscript.TestScript) *driver { return ts.Value(driverKey{}).(*driver) }

// runScript is the inside of a script's world: it runs the script, and then
// looks whether anything is left.
func runScript(t *world.T, script string) {
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Setenv("GOTMPDIR", world.Scratch); err != nil { // where testscript makes $WORK
		t.Fatal(err)
	}
	before, err := world.Take("/run")
	if err != nil {
		t.Fatal(err)
	}
	testscript.RunT(t, testscript.Params{
		Files:               []string{script},
		Setup:               func(e *testscript.Env) error { return setUp(e, rt) },
		Condition:           rt.Condition,
		Cmds:                commands(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            world.Deadline(),
	})
	if t.Failed() {
		return // it may have stopped anywhere
	}
	left, err := before.Since("/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range left {
		switch {
		case strings.HasPrefix(line, "+ file /run/"+rt.Kind+" "), // the default state directory may stay, empty
			strings.HasPrefix(line, "+ file "+os.Getenv("XDG_RUNTIME_DIR")+"/"+rt.Kind+" "):
		case strings.HasPrefix(line, "+ file "+world.Scratch+"/") && os.Geteuid() != 0: // files of the containers' ids stay
		case rt.Kind == "runc": // known to leave a cgroup when a process in it is slow to end
			t.Logf("left behind: %s", line)
		default:
			t.Errorf("left behind: %s", line)
		}
	}
}

// setUp gives a script its variables:
//
//	RUNTIME, KIND  the command under test and what it is: runc or gourd
//	ROOT           the state directory that `runtime` uses
//	VIA            what a shell of the script adds to an exec; see viaInitEnv
//	OWNER          the name of the user whose the runtime is
func setUp(e *testscript.Env, rt world.Runtime) error {
	w, err := newWays()
	if err != nil {
		return err
	}
	owner := "root"
	if w.way == world.Rootless {
		owner = world.UserName()
	}
	d := &driver{
		runtime: rt,
		ways:    w,
		work:    e.WorkDir,
		jobs:    map[string]*job{},
		sockets: map[string]*fdSocket{},
		agents:  map[string]*agent{},
		before:  map[string]world.Snapshot{},
	}
	e.Values[driverKey{}] = d
	e.Vars = append(e.Vars,
		"RUNTIME="+rt.Path,
		"KIND="+rt.Kind,
		"OWNER="+owner,
		"ROOT="+filepath.Join(e.WorkDir, ".state"),
		viaInitEnv+"="+os.Getenv(viaInitEnv),
	)
	if dir := os.Getenv("XDG_RUNTIME_DIR"); w.way == world.Rootless {
		e.Vars = append(e.Vars, "XDG_RUNTIME_DIR="+dir)
	}
	e.Defer(func() {
		d.end()
		t := e.T().(*world.T)
		if t.Failed() {
			return // it may have stopped anywhere
		}
		containers, err := os.ReadDir(e.Getenv("ROOT"))
		if err != nil && !os.IsNotExist(err) {
			t.Errorf("%v", err)
		}
		for _, c := range containers {
			t.Errorf("left behind: the state of container %s", c.Name())
		}
	})
	for _, dir := range []string{".out", ".state"} {
		if err := os.Mkdir(filepath.Join(e.WorkDir, dir), 0o755); err != nil {
			return err
		}
	}
	// Containers in user namespaces of their own must get to their rootfs.
	return os.Chmod(filepath.Dir(e.WorkDir), 0o755)
}

// end stops what the script left in the background.
func (d *driver) end() {
	for _, j := range d.jobs {
		j.cmd.Process.Kill()
		j.cmd.Wait()
	}
	for _, s := range d.sockets {
		s.close()
	}
	for _, a := range d.agents {
		a.listener.Close() // what it answers for may not have ended
	}
	for _, m := range slices.Backward(d.mounts) {
		unix.Unmount(m, unix.MNT_DETACH) // what stays is found when the world is counted
	}
}

// commands are the words that scripts have besides testscript's own. Their
// descriptions for writers of scripts are in testdata/README.md.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"bundle":    cmdBundle,
		"debian":    cmdDebian,
		"podman":    cmdPodman,
		"config":    cmdConfig,
		"mapped":    cmdMapped,
		"own":       cmdOwn,
		"label":     cmdLabel,
		"keylabel":  cmdKeyLabel,
		"labels":    cmdLabels,
		"runtime":   cmdRuntime,
		"exits":     cmdExits,
		"await":     cmdAwait,
		"signal":    cmdSignal,
		"status":    cmdStatus,
		"json":      cmdJSON,
		"pid":       cmdPid,
		"waitexit":  cmdWaitExit,
		"gone":      cmdGone,
		"waitline":  cmdWaitLine,
		"hold":      cmdHold,
		"release":   cmdRelease,
		"snapshot":  cmdSnapshot,
		"unchanged": cmdUnchanged,
		"socket":    cmdSocket,
		"console":   cmdConsole,
		"pidfd":     cmdPidfd,
		"agent":     cmdAgent,
		"resctrl":   cmdResctrl,
		"terminal":  cmdTerminal,
	}
}
