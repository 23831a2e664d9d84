package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

// result is what a run of the command line left.
type result struct {
	code           int
	stdout, stderr string
}

// try runs "gourd" with args. Where verb is not nil its action is replaced, so
// that nothing is done to a container.
func try(action func(p *program, c *cli.Context) error, args ...string) result {
	var out, err bytes.Buffer
	p := &program{stdout: &out, stderr: &err, find: func(name string) *verb {
		v := findVerb(name)
		if v != nil && action != nil {
			v.run = action
		}
		return v
	}}
	code := p.main(append([]string{"gourd"}, args...))
	return result{code, out.String(), err.String()}
}

// root is a user without XDG_RUNTIME_DIR, as far as the state root goes.
func plainEnv(t *testing.T) {
	t.Helper()
	for _, name := range []string{"XDG_RUNTIME_DIR", "LISTEN_FDS", "LISTEN_PID"} {
		t.Setenv(name, "")
	}
}

func TestCreateOptions(t *testing.T) {
	plainEnv(t)
	dir := t.TempDir()
	t.Chdir(dir)
	base := libcontainer.CreateOptions{Root: "/run/gourd", ID: "web", Bundle: dir, CgroupManager: "cgroupfs"}
	for _, tt := range []struct {
		args string
		want func(o *libcontainer.CreateOptions)
	}{
		{"create web", func(o *libcontainer.CreateOptions) {}},
		{"create --bundle /b web", func(o *libcontainer.CreateOptions) { o.Bundle = "/b" }},
		{"create -b sub web", func(o *libcontainer.CreateOptions) { o.Bundle = filepath.Join(dir, "sub") }},
		{"create web --pid-file p --console-socket c --pidfd-socket f", func(o *libcontainer.CreateOptions) {
			o.PidFile, o.ConsoleSocket, o.PidfdSocket = "p", "c", "f"
		}},
		{"create web -no-pivot --no-new-keyring", func(o *libcontainer.CreateOptions) { o.NoPivot, o.NoNewKeyring = true, true }},
		{"create --preserve-fds 3 web", func(o *libcontainer.CreateOptions) { o.PreserveFDs = 3 }},
		{"--root /r/../s create web", func(o *libcontainer.CreateOptions) { o.Root = "/s" }},
		{"--systemd-cgroup create web", func(o *libcontainer.CreateOptions) { o.CgroupManager = "systemd" }},
		{"--cgroup-manager disabled create web", func(o *libcontainer.CreateOptions) { o.CgroupManager = "disabled" }},
		{"--systemd-cgroup --cgroup-manager systemd create web", func(o *libcontainer.CreateOptions) { o.CgroupManager = "systemd" }},
		{"--rootless true create web", func(o *libcontainer.CreateOptions) { o.Rootless = true }},
		{"--rootless=1 create web", func(o *libcontainer.CreateOptions) { o.Rootless = true }},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var got libcontainer.CreateOptions
			args := strings.Fields(tt.args)
			if !strings.Contains(tt.args, "--rootless") {
				args = append([]string{"--rootless", "false"}, args...) // not what the tester is
			}
			r := try(func(p *program, c *cli.Context) (err error) {
				got, err = p.createOptions(c)
				if got.Log != p.log || got.Log == nil {
					t.Errorf("the log is not handed on")
				}
				got.Log = nil
				return err
			}, args...)
			if r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			want := base
			tt.want(&want)
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestRunOptions(t *testing.T) {
	plainEnv(t)
	var got libcontainer.RunOptions
	action := func(p *program, c *cli.Context) (err error) {
		got, err = p.runOptions(c)
		p.exitCode = 42 // as a container would
		return err
	}
	if r := try(action, "run", "web", "-d", "--keep", "-no-subreaper", "--bundle", "/b"); r.code != 42 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	if !got.Detach || !got.Keep || !got.NoSubreaper || got.Bundle != "/b" || got.ID != "web" {
		t.Errorf("got %+v", got)
	}
	if try(action, "run", "web"); got.Detach || got.Keep || got.NoSubreaper {
		t.Errorf("without flags: got %+v", got)
	}
}

func TestListenFDs(t *testing.T) {
	for _, tt := range []struct {
		pid, fds string
		want     int
	}{
		{"7", "2", 2},
		{"7", "0", 0},
		{"7", "", 0},
		{"7", "-1", 0},
		{"7", "x", 0},
		{"8", "2", 0}, // meant for another process
		{"", "2", 0},
	} {
		if got := parseListenFDs(tt.pid, tt.fds, 7); got != tt.want {
			t.Errorf("LISTEN_PID=%q LISTEN_FDS=%q: got %d, want %d", tt.pid, tt.fds, got, tt.want)
		}
	}
}

// nothing is an action that only succeeds.
func nothing(*program, *cli.Context) error { return nil }

func TestUsageErrors(t *testing.T) {
	plainEnv(t)
	const usage = "usage: gourd "
	for _, tt := range []struct {
		args   string
		code   int
		stderr string // what it begins with, after "gourd: "
		hint   string // what the second line begins with
	}{
		{"create", 1, `"create" requires exactly 1 argument(s)`, usage + "create [OPTIONS] CONTAINER-ID; see"},
		{"create a b", 1, `"create" requires exactly 1 argument(s)`, usage + "create"},
		{"state", 1, `"state" requires exactly 1 argument(s)`, usage + "state CONTAINER-ID; see"},
		{"list x", 1, `"list" requires exactly 0 argument(s)`, usage + "list"},
		{"kill", 1, `"kill" requires a minimum of 1 argument(s)`, usage + "kill"},
		{"kill a b c", 1, `"kill" requires a maximum of 2 argument(s)`, usage + "kill"},
		{"create --nope web", 1, "flag provided but not defined: -nope", usage + "create"},
		{"create web --nope", 1, "flag provided but not defined: -nope", usage + "create"},
		{"create web --bundle", 1, "flag needs an argument: -bundle", usage + "create"},
		{"create --no-pivot=maybe web", 1, `invalid boolean value "maybe" for -no-pivot`, usage + "create"},
		{"--nope", 1, "flag provided but not defined: -nope", usage + "[GLOBAL OPTIONS]"},
		{"--nope list", 1, "flag provided but not defined: -nope", usage + "[GLOBAL OPTIONS]"},
		{"--root", 1, "flag needs an argument: -root", usage + "[GLOBAL OPTIONS]"},
		{"list --root", 1, "flag needs an argument: -root", usage + "[GLOBAL OPTIONS]"},
		{"--debug", 1, "a command is missing", usage + "[GLOBAL OPTIONS]"},
		{"--log-format xml list", 1, `invalid log-format: "xml"`, usage + "[GLOBAL OPTIONS]"},
		{"--log-level loud list", 1, `invalid log-level: "loud"`, usage + "[GLOBAL OPTIONS]"},
		{"--rootless maybe list", 1, `invalid rootless: "maybe"`, usage + "[GLOBAL OPTIONS]"},
		{"--cgroup-manager v1 list", 1, `invalid cgroup-manager: "v1"`, usage + "[GLOBAL OPTIONS]"},
		{"--systemd-cgroup --cgroup-manager disabled list", 1, "--systemd-cgroup contradicts --cgroup-manager disabled", usage},
		{"--log journald:x list", 1, "--log journald:x: logging to journald is not built yet", usage},
		{"frobnicate", 3, `unknown command "frobnicate"`, `"gourd --help"`},
		{"crate web", 3, `unknown command "crate"`, `did you mean "gourd create"?`},
		{"help frobnicate", 3, `unknown command "frobnicate"`, `"gourd --help"`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			action := nothing
			if strings.HasPrefix(tt.args, "help") {
				action = nil
			}
			r := try(action, strings.Fields(tt.args)...)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d", r.code, tt.code)
			}
			lines := strings.Split(r.stderr, "\n")
			if len(lines) != 3 || !strings.HasPrefix(lines[0], "gourd: "+tt.stderr) || !strings.HasPrefix(lines[1], tt.hint) || lines[2] != "" {
				t.Errorf("stderr is\n%s", r.stderr)
			}
			if r.stdout != "" {
				t.Errorf("stdout is\n%s", r.stdout)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	plainEnv(t)
	for _, tt := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"create", ""}, "container id cannot be empty"},
		{[]string{"state", ""}, "container id cannot be empty"},
		{[]string{"delete", "--force", ""}, "container id cannot be empty"},
		{[]string{"kill", "web", "SIGNOPE"}, `unknown signal "SIGNOPE"`},
		{[]string{"kill", "web", "-9"}, "signal -9 is not between 0 and 64"},
		{[]string{"create", "web", "--preserve-fds", "-1"}, `--preserve-fds "-1" is not a number`},
		{[]string{"create", "web", "--preserve-fds", "two"}, `--preserve-fds "two" is not a number`},
		{[]string{"list", "--format", "yaml"}, `invalid format option: "yaml"`},
		{[]string{"ps", "--format", "yaml", "web"}, `invalid format option: "yaml"`},
		{[]string{"--root", "", "list"}, "--root is empty"},
		{[]string{"--root", "/..", "list"}, `--root "/.." is the root directory`},
		{[]string{"--root", "/nonexistent/gourd", "list"}, "stat /nonexistent/gourd: no such file or directory"},
		{[]string{"--log", "/nonexistent/log", "list"}, "--log: open /nonexistent/log: no such file or directory"},
		{[]string{"update", "web", "--memory", "lots"}, `update: --memory: "lots" is not a size such as 67108864, 64M or 1.5G, nor -1 for no limit`},
		{[]string{"update", "--pids-limit", "-", "web"}, `update: --pids-limit: "-" is not a number`},
		{[]string{"update", "--cpu-share=-1", "web"}, `update: --cpu-share: "-1" is not a number from 0 on`},
		{[]string{"update", "--blkio-weight", "70000", "web"}, `update: --blkio-weight: "70000" is too large`},
		{[]string{"update", "--kernel-memory", "lots", "web"}, `update: --kernel-memory: "lots" is not a size`},
		{[]string{"update", "--resources", "/nonexistent", "web"}, "update --resources: open /nonexistent: no such file or directory"},
		{[]string{"update", "--resources=/dev/null", "web"}, "update --resources: line 1, column 1: an object is expected"},
		{[]string{"events", "--interval", "0", "web"}, "duration interval must be greater than 0"},
		{[]string{"events", "--interval", "-1s", "--stats", "web"}, "duration interval must be greater than 0"},
		{[]string{"events", "web", "--interval", "5"}, `--interval "5" is not a time`},
		{[]string{"checkpoint", ""}, "container id cannot be empty"},
		{[]string{"checkpoint", "--status-fd", "x", "web"}, `--status-fd "x" is not a file descriptor`},
		{[]string{"restore", "--lsm-mount-context"}, "flag needs an argument: -lsm-mount-context"}, // Podman looks for these words
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := try(nil, tt.args...)
			if r.code != 1 || !strings.HasPrefix(r.stderr, "gourd: "+tt.stderr) || r.stdout != "" {
				t.Errorf("exit code %d, stderr\n%sstdout\n%s", r.code, r.stderr, r.stdout)
			}
		})
	}
}

func TestErrorGoesToLogAndStderr(t *testing.T) {
	plainEnv(t)
	file := filepath.Join(t.TempDir(), "log")
	for _, name := range []string{file, "file:" + file} {
		r := try(nil, "--log", name, "--log-format", "json", "kill", "web", "NOPE")
		if want := "gourd: unknown signal \"NOPE\"\n"; r.code != 1 || r.stderr != want {
			t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 2 { // the second run appends
		t.Fatalf("log is\n%s", b)
	}
	for _, l := range lines {
		var got struct{ Level, Msg, Time string }
		if err := json.Unmarshal([]byte(l), &got); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if got.Level != "error" || got.Msg != `unknown signal "NOPE"` {
			t.Errorf("log line %s", l)
		}
		if _, err := time.Parse(time.RFC3339, got.Time); err != nil {
			t.Error(err)
		}
	}
}

func TestErrorAsJSONWithoutLogFile(t *testing.T) {
	plainEnv(t)
	r := try(nil, "--log-format", "json", "kill", "web", "NOPE")
	if !strings.HasPrefix(r.stderr, `{"level":"error","msg":"unknown signal \"NOPE\"","time":"`) || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("stderr is %q", r.stderr)
	}
}

func TestContainersNamedLikeCommands(t *testing.T) {
	plainEnv(t)
	for _, id := range []string{"help", "h", "list", "bundle"} {
		var got string
		r := try(func(_ *program, c *cli.Context) (err error) {
			got, err = containerID(c)
			return err
		}, "create", "--bundle", "/b", id)
		if r.code != 0 || got != id {
			t.Errorf("create %s: exit code %d, id %q, stderr %q", id, r.code, got, r.stderr)
		}
	}
}

// BenchmarkParse is what the command line costs before the verb begins.
func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		r := try(nothing, "--root", "/r", "--log", "/dev/null", "--log-format", "json", "create", "--bundle", "/b", "--pid-file", "/p", "web")
		if r.code != 0 {
			b.Fatal(r.stderr)
		}
	}
}
