package engines

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

// match is something that an engine looks for in what the runtime says, and
// takes a decision by.
type match struct {
	engine, source string // whose, and the file and the function of its sources
	when           string // what it asked of the runtime: one of situations
	pattern        string // as a regular expression
	decides        string // what the engine makes of it
}

// notFound is what Podman takes for a program that is missing, since 5.0; before, it
// did not know "open executable", which is crun's.
const notFound = `(?i).*executable file not found in.*|.*no such file or directory.*|.*open executable.*`

// matches are those of containerd 1.6 to 2.1, Docker 26 to 29, Podman 4.3 to 5.8 and
// CRI-O 1.37. conmon matches on nothing: it hands on what the runtime says.
var matches = []match{
	{"containerd", "cmd/containerd-shim-runc-v2/process/utils.go checkKillError", "kill a stopped container", `container not running`, "the process has finished: not found"},
	{"containerd", "cmd/containerd-shim-runc-v2/process/utils.go checkKillError", "kill an unknown container", `does not exist`, "no such container: not found"},
	{"containerd", "cmd/containerd-shim-runc-v2/process/init.go delete", "delete an unknown container", `does not exist`, "it is deleted already: no error"},
	{"containerd", "cmd/containerd-shim-runc-v2/process/utils.go criuError", "checkpoint a stopped container", `^[^\n]*stopped`, "the first line is all that is shown"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "create, the program is missing", `/no/such(.|\n)*(executable file not found|no such file or directory)`, "exit code 127"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "create, the program is not in PATH", `nosuch(.|\n)*(executable file not found|no such file or directory)`, "exit code 127"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "create, the program may not be executed", `permission denied`, "exit code 126"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "create, the program is a directory", `is a directory`, "exit code 126"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "create, a file is mounted on a directory", `not a directory`, "a word about mounts of directories on files"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "start, the interpreter is missing", `/bin/badinterpreter(.|\n)*no such file or directory`, "exit code 127"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "exec, the program is missing", `/no/such(.|\n)*(executable file not found|no such file or directory)`, "exit code 127"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "exec, the program may not be executed", `permission denied`, "exit code 126"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "exec, the program is a directory", `is a directory`, "exit code 126"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the program is missing", notFound, "not found: exit code 127"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the program is not in PATH", notFound, "not found: exit code 127"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the program may not be executed", `(?i).*permission denied.*|.*operation not permitted.*`, "exit code 126"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "exec, the program is missing", notFound, "not found: exit code 127"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "exec, the program is not in PATH", notFound, "not found: exit code 127"},
	{"Podman", "libpod/define/exec_codes.go ExitCode", "start, the interpreter is missing", `(?i)not found|no such file`, "exit code 127"},
	{"Podman", "libpod/oci_conmon_common.go UpdateContainerStatus", "state of an unknown container", `does not exist|No such file`, "it has exited"},
	{"Podman", "pkg/checkpoint/crutils CRRuntimeSupportsPodCheckpointRestore", "restore --lsm-mount-context without a value", `flag needs an argument|requires an argument`, "the runtime can restore into pods"},
	{"CRI-O", "internal/oci/runtime_oci.go runtimeCmd", "kill a stopped container", `no such process|container not running|invalid process`, "not found: no error"},
}

// noMatches are what an engine must not find, as it would tell people nonsense.
var noMatches = []match{
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the sysctl is missing", notFound, "a command that was not found"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the seccomp agent is missing", notFound, "a command that was not found"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the pid file's directory is missing", notFound, "a command that was not found"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the controller is missing", notFound, "a command that was not found"},
	{"Podman", "libpod/oci_util.go getOCIRuntimeError", "create, the AppArmor profile is missing", "`/proc/[a-z0-9-].+/attr.*`", "a word about an attribute that could not be set, which is not what is wrong"},
	{"Docker", "daemon/errors.go setExitCodeFromError", "exec, the working directory is a file", `not a directory`, "a word about mounts of directories on files"},
}

// situation makes a mistake. config edits the bundle's config.json, before
// brings the container about, args are the command that fails; "c" is the
// container, "BUNDLE" the bundle.
type situation struct {
	config string
	before [][]string
	args   []string
}

var (
	running = [][]string{{"run", "--detach", "--bundle", "BUNDLE", "c"}}
	stopped = [][]string{{"run", "--detach", "--bundle", "BUNDLE", "c"}, {"kill", "c", "KILL"}, {"delete", "nothing"}}
	create  = []string{"create", "--bundle", "BUNDLE", "c"}
)

var situations = map[string]situation{
	"kill a stopped container":                    {before: stopped, args: []string{"kill", "c", "15"}},
	"kill an unknown container":                   {args: []string{"kill", "unknown", "15"}},
	"delete an unknown container":                 {args: []string{"delete", "unknown"}},
	"state of an unknown container":               {args: []string{"state", "unknown"}},
	"checkpoint a stopped container":              {before: stopped, args: []string{"checkpoint", "c"}},
	"restore --lsm-mount-context without a value": {args: []string{"restore", "--lsm-mount-context"}},
	"create, the program is missing":              {config: `.process.args = ["/no/such"]`, args: create},
	"create, the program is not in PATH":          {config: `.process.args = ["nosuch"]`, args: create},
	"create, the program is a directory":          {config: `.process.args = ["/bin"]`, args: create},
	"create, the program may not be executed":     {config: `.process.args = ["/bin/notexecutable"]`, args: create},
	"create, a file is mounted on a directory":    {config: `.mounts += [{destination: "/bin", source: "/etc/passwd", options: ["bind"]}]`, args: create},
	"create, the sysctl is missing":               {config: `.linux.sysctl = {"net.ipv4.nosuch": "1"}`, args: create},
	"create, the seccomp agent is missing":        {config: `.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/run/nosuch", syscalls: [{names: ["mkdir"], action: "SCMP_ACT_NOTIFY"}]}`, args: create},
	"create, the pid file's directory is missing": {args: []string{"create", "--bundle", "BUNDLE", "--pid-file", "/no/such/pid", "c"}},
	"create, the AppArmor profile is missing":     {config: `.process.apparmorProfile = "nosuch"`, args: create},
	"create, the controller is missing":           {config: `.linux.resources.unified = {"nosuch.max": "1"}`, args: create},
	"start, the interpreter is missing":           {config: `.process.args = ["/bin/badinterpreter"]`, before: [][]string{create}, args: []string{"start", "c"}},
	"exec, the program is missing":                {before: running, args: []string{"exec", "c", "/no/such"}},
	"exec, the program is not in PATH":            {before: running, args: []string{"exec", "c", "nosuch"}},
	"exec, the program is a directory":            {before: running, args: []string{"exec", "c", "/bin"}},
	"exec, the program may not be executed":       {before: running, args: []string{"exec", "c", "/bin/notexecutable"}},
	"exec, the working directory is a file":       {before: running, args: []string{"exec", "--cwd", "/bin/cat", "c", "true"}},
}

// TestMatches has the runtime say each of the things that engines match on, on
// stderr and in the log that engines read.
func TestMatches(t *testing.T) { world.Run(t, "matches", "") }

func makeMatches(t *world.T, _ string) {
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	if rt.Kind != "gourd" {
		t.Skip("it is about gourd's words")
	}
	said := map[string][2]string{}
	for name := range situations {
		stderr, log := provoke(t, rt, name)
		said[name] = [2]string{stderr, log}
	}
	for _, list := range []struct {
		of   []match
		want bool
	}{{matches, true}, {noMatches, false}} {
		for _, m := range list.of {
			s, ok := said[m.when]
			if !ok {
				t.Errorf("there is no situation %q", m.when)
				continue
			}
			for i, where := range []string{"stderr", "the log"} {
				if s[i] == "" && m.when == "restore --lsm-mount-context without a value" && i == 1 {
					continue // a question about the command line
				}
				if regexp.MustCompile(m.pattern).MatchString(s[i]) != list.want {
					t.Errorf("%s, in %s (%s): in %s, %q\nmatches %s: want %v", m.when, m.engine, m.source, where, s[i], m.pattern, list.want)
				}
			}
		}
	}
}

// provoke brings the situation about twice, and returns what the failing command
// says on stderr, and as the last error of its log.
func provoke(t *world.T, rt world.Runtime, name string) (stderr, log string) {
	s := situations[name]
	for _, withLog := range []bool{false, true} {
		dir, err := os.MkdirTemp(world.Scratch, "match")
		if err != nil {
			t.Fatal(err)
		}
		bundle, root, file := filepath.Join(dir, "bundle"), filepath.Join(dir, "root"), filepath.Join(dir, "log")
		rootfs := filepath.Join(bundle, "rootfs")
		if err := makeRootfs(rootfs); err != nil {
			t.Fatal(err)
		}
		for f, data := range map[string]string{"bin/badinterpreter": "#!/no/such/shell\n", "bin/notexecutable": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(rootfs, f), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(rootfs, "bin/badinterpreter"), 0o755); err != nil {
			t.Fatal(err)
		}
		run := func(global []string, args ...string) (string, error) {
			args = append(append([]string{"--root", root}, global...), args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "BUNDLE", bundle)
			}
			cmd := exec.Command(rt.Path, args...)
			errs, err := os.Create(filepath.Join(dir, "stderr")) // no pipe: a container that goes on has it open
			if err != nil {
				return "", err
			}
			defer errs.Close()
			cmd.Stderr = errs
			err = cmd.Run()
			said, _ := os.ReadFile(errs.Name())
			return string(said), err
		}
		if out, err := run(nil, "spec", "--bundle", "BUNDLE"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		config := `.process.terminal = false | .root.readonly = false | .process.args = ["sleep", "1000"]`
		if s.config != "" {
			config += " | " + s.config
		}
		edited, err := exec.Command("jq", config, filepath.Join(bundle, "config.json")).Output()
		if err != nil {
			t.Fatalf("jq %s: %v", config, err)
		}
		if err := os.WriteFile(filepath.Join(bundle, "config.json"), edited, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, args := range s.before {
			if args[0] == "delete" { // wait for the end
				awaitStopped(t, rt.Path, root)
				continue
			}
			if out, err := run(nil, args...); err != nil {
				t.Fatalf("%s: %s: %v: %s", name, args, err, out)
			}
		}
		var global []string
		if withLog {
			global = []string{"--log", file, "--log-format", "json"}
		}
		out, err := run(global, s.args...)
		if err == nil {
			t.Errorf("%s: it works", name)
		}
		if withLog {
			log = lastError(t, file)
		} else {
			stderr = out
		}
		if out, err := run(nil, "delete", "--force", "c"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	return stderr, log
}

// awaitStopped waits for the end of the container c.
func awaitStopped(t *world.T, runtime, root string) {
	out, err := exec.Command(runtime, "--root", root, "state", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Pid int }
	if err := json.Unmarshal(out, &state); err != nil {
		t.Fatal(err)
	}
	if state.Pid == 0 {
		return
	}
	if ended, err := world.WaitExit(state.Pid, world.Soon()); err != nil || !ended {
		t.Fatalf("the container does not end: %v", err)
	}
}

// lastError reads the log as containerd does: the last line of level error. It
// is the only one.
func lastError(t *world.T, file string) (msg string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		var l struct{ Level, Msg, Time string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("the log has the line %q: %v", line, err)
		}
		if l.Level == "error" {
			n++
			msg = l.Msg
		}
	}
	if n != 1 {
		t.Errorf("the log has %d errors: %s", n, data)
	}
	return msg
}
