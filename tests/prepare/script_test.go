package prepare

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gourd-oci/gourd/tests/world"
)

// runScript is the inside of a script's world. arg is the script and a
// directory on disk, as a store has it.
func runScript(t *world.T, arg string) {
	script, dir, _ := strings.Cut(arg, " ")
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Setenv("GOTMPDIR", dir); err != nil { // where testscript makes $WORK
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} { // ordinary users have stores here, too
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	testscript.RunT(t, testscript.Params{
		Files: []string{script},
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars,
				"IMAGES="+os.Getenv("GOURD_TEST_IMAGES"),
				"STORE="+filepath.Join(e.WorkDir, ".store"), "RUN="+filepath.Join(e.WorkDir, ".run"),
				"RUNTIME="+rt.Path, "PREPARE="+filepath.Join(filepath.Dir(rt.Path), "gourd-prepare"), "HOME="+e.WorkDir)
			return os.Chmod(filepath.Dir(e.WorkDir), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"prepare": cmdPrepare, "gourd": cmdGourd, "sametree": cmdSameTree, "json": cmdJSON, "bundle": cmdBundle,
			"mounted": cmdMounted, "exits": cmdExits, "sh": cmdSh, "registry": cmdRegistry, "user": cmdUser,
		},
		Condition:           rt.Condition,
		RequireExplicitExec: true,
		Deadline:            world.Deadline(),
	})
}

// run executes a program; its output is what stdout and stderr look at.
func run(ts *testscript.TestScript, neg bool, want int, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Dir = ts.MkAbs(".")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = os.Environ()
	for _, v := range []string{"STORE", "RUN", "IMAGES", "WORK", "RUNTIME", "PREPARE", "HOME", "REGISTRY", "OUT", "ERR", "B", "C", "E", "L"} {
		cmd.Env = append(cmd.Env, v+"="+ts.Getenv(v))
	}
	err := cmd.Run()
	ts.Check(os.WriteFile(ts.MkAbs(".stdout"), out.Bytes(), 0o644))
	if out.Len() > 0 {
		ts.Logf("[stdout]\n%s", out.String())
	}
	if errs.Len() > 0 {
		ts.Logf("[stderr]\n%s", errs.String())
	}
	ts.Setenv("OUT", strings.TrimSpace(out.String()))
	ts.Setenv("ERR", strings.TrimSpace(errs.String()))
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	switch {
	case want >= 0 && code != want:
		ts.Fatalf("the exit code is %d, not %d", code, want)
	case want < 0 && neg && code == 0:
		ts.Fatalf("it succeeded")
	case want < 0 && !neg && code != 0:
		ts.Fatalf("the exit code is %d", code)
	}
	ts.Setenv("STDOUT", out.String())
}

func storeArgs(ts *testscript.TestScript, args []string) []string {
	return append([]string{"--store", ts.Getenv("STORE"), "--run-dir", ts.Getenv("RUN")}, withFormat(args)...)
}

// cmdPrepare is "prepare ARGS…": gourd prepare with the script's store.
func cmdPrepare(ts *testscript.TestScript, neg bool, args []string) {
	run(ts, neg, -1, ts.Getenv("RUNTIME"), append([]string{"prepare"}, storeArgs(ts, args)...)...)
}

// withFormat adds the form of layers that this run tests to the verbs that
// import.
func withFormat(args []string) []string {
	f := os.Getenv("GOURD_TEST_FORMAT")
	if f == "" || len(args) == 0 || args[0] == "" {
		return args
	}
	switch args[0] {
	case "import", "run", "create":
		return append([]string{args[0], "--layer-format", f}, args[1:]...)
	case "images", "list", "inspect", "mount", "unmount", "rm", "rmi", "size", "diff", "export", "commit", "copy", "tag", "check", "gc", "refresh", "unshare":
		return args
	}
	return append([]string{"--layer-format", f}, args...)
}

// cmdGourd is "gourd ARGS…".
func cmdGourd(ts *testscript.TestScript, neg bool, args []string) {
	run(ts, neg, -1, ts.Getenv("RUNTIME"), args...)
}

// cmdExits is "exits CODE prepare|gourd ARGS…".
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	if args[1] == "gourd" {
		run(ts, neg, code, ts.Getenv("RUNTIME"), args[2:]...)
		return
	}
	run(ts, neg, code, ts.Getenv("RUNTIME"), append([]string{"prepare"}, storeArgs(ts, args[2:])...)...)
}

// cmdSh is "sh 'SCRIPT'": a line of shell. It has $STORE, $RUN, $IMAGES, the
// last output and errors as $OUT and $ERR, and the bundles $B, $C and $E.
func cmdSh(ts *testscript.TestScript, neg bool, args []string) {
	run(ts, neg, -1, "sh", "-euc", strings.Join(args, " "))
}

// cmdBundle is "bundle VAR NAME": sets VAR to the bundle of a container.
func cmdBundle(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command(ts.Getenv("PREPARE"), storeArgs(ts, []string{"inspect", "--bundle", args[1]})...)
	out, err := cmd.Output()
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimSpace(string(out)))
}

// cmdJSON is "json [FILE] JQ": the expression is true of the last output.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	file := ".stdout"
	if len(args) == 2 {
		file = args[0]
	}
	cmd := exec.Command("jq", "-e", args[len(args)-1], ts.MkAbs(file))
	out, err := cmd.CombinedOutput()
	if (err != nil) != neg {
		data, _ := os.ReadFile(ts.MkAbs(file))
		ts.Fatalf("%s is not so: %s\n%s", args[len(args)-1], out, data)
	}
}

// cmdMounted is "[!] mounted DIR".
func cmdMounted(ts *testscript.TestScript, neg bool, args []string) {
	err := exec.Command("mountpoint", "-q", ts.MkAbs(args[0])).Run()
	if (err != nil) != neg {
		ts.Fatalf("mounted %s: %v", args[0], err == nil)
	}
}

// cmdUser is "user prepare ARGS…": gourd prepare as an ordinary user.
func cmdUser(ts *testscript.TestScript, neg bool, args []string) {
	home := ts.MkAbs("home")
	run(ts, neg, -1, "setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
		"env", "USER=nobody", "HOME=" + home, "XDG_RUNTIME_DIR=" + ts.MkAbs("rt"), "XDG_DATA_HOME=", ts.Getenv("RUNTIME")}, args...)...)
}
