package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

// execOptionsOf parses a command line of exec.
func execOptionsOf(t *testing.T, args ...string) (o libcontainer.ExecOptions, err error) {
	t.Helper()
	plainEnv(t)
	p := &program{stdout: new(strings.Builder), stderr: new(strings.Builder)}
	p.find = func(name string) *verb {
		v := findVerb(name)
		v.run = func(p *program, c *cli.Context) error {
			o, err = p.execOptions(c)
			o.Log = nil
			return nil
		}
		return v
	}
	if code := p.main(append([]string{"gourd", "--root", "/r", "exec"}, args...)); code != 0 {
		t.Fatalf("%q: exit code %d: %v", args, code, p.stderr)
	}
	return o, err
}

func TestExecOptions(t *testing.T) {
	id := func(n uint32) *uint32 { return &n }
	text := func(s string) *string { return &s }
	on, off := true, false
	for _, tt := range []struct {
		args string
		want libcontainer.ExecOptions
	}{
		{"web sh -c exit", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{Args: []string{"sh", "-c", "exit"}}}},
		{"web ls -t --user 5 -- -x", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{Args: []string{"ls", "-t", "--user", "5", "--", "-x"}}}},
		{"--process p.json --detach --pid-file f web", libcontainer.ExecOptions{
			Detach: true, PidFile: "f", Process: libcontainer.ExecProcess{File: "p.json"}}},
		{"-p p.json -d --console-socket s --pidfd-socket d web", libcontainer.ExecOptions{
			Detach: true, ConsoleSocket: "s", PidfdSocket: "d", Process: libcontainer.ExecProcess{File: "p.json"}}},
		{"-t -e A=1,2 --env B=3 -e=C=4 --cwd /x web sh", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{
			Terminal: true, Env: []string{"A=1,2", "B=3", "C=4"}, Cwd: "/x", Args: []string{"sh"}}}},
		{"-u 0 web sh", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{UID: id(0), Args: []string{"sh"}}}},
		{"--user 1:2 -g 3 --additional-gids 4 web sh", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{
			UID: id(1), GID: id(2), AdditionalGIDs: []uint32{3, 4}, Args: []string{"sh"}}}},
		{"-c CAP_KILL --cap CAP_CHOWN --apparmor a --process-label l web sh", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{
			Capabilities: []string{"CAP_KILL", "CAP_CHOWN"}, AppArmorProfile: "a", SELinuxLabel: "l", Args: []string{"sh"}}}},
		{"--no-new-privs web sh", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{NoNewPrivileges: &on, Args: []string{"sh"}}}},
		{"--no-new-privs=false web sh", libcontainer.ExecOptions{Process: libcontainer.ExecProcess{NoNewPrivileges: &off, Args: []string{"sh"}}}},
		{"--cgroup a/b --ignore-paused --preserve-fds 2 web sh", libcontainer.ExecOptions{
			Cgroup: text("a/b"), IgnorePaused: true, PreserveFDs: 2, Process: libcontainer.ExecProcess{Args: []string{"sh"}}}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			tt.want.Root, tt.want.ID = "/r", "web"
			got, err := execOptionsOf(t, strings.Fields(tt.args)...)
			if err != nil {
				t.Fatal(err)
			}
			// An empty list says the same as none.
			p := &got.Process
			for _, list := range []*[]string{&p.Args, &p.Env, &p.Capabilities} {
				if len(*list) == 0 {
					*list = nil
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestExecOptionsRefused(t *testing.T) {
	for _, tt := range []struct{ args, err string }{
		{"-u root web sh", "bad uid"},
		{"-u 1: web sh", "bad gid"},
		{"-u :1 web sh", "bad uid"},
		{"-u 1:2:3 web sh", "bad gid"},
		{"-u +1 web sh", "bad uid"},
		{"-u 4294967295 web sh", "bad uid"},
		{"-g staff web sh", "--additional-gids"},
		{"--preserve-fds -1 web sh", "--preserve-fds"},
		{"--cgroup a --cgroup b web sh", "--cgroup"},
	} {
		if _, err := execOptionsOf(t, strings.Fields(tt.args)...); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %v, want %q in it", tt.args, err, tt.err)
		}
	}
}

func TestExecErrorsExitWith255(t *testing.T) {
	plainEnv(t)
	r := try(nil, "--root", t.TempDir(), "exec", "web", "sh")
	if r.code != 255 || !strings.Contains(r.stderr, "exec failed: ") || !strings.Contains(r.stderr, "does not exist") {
		t.Errorf("exit code %d, stderr %s", r.code, r.stderr)
	}
}
