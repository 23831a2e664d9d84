package plan

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

func TestBareGate(t *testing.T) {
	limit := func(resource int, soft uint64) credentials.Plan {
		return credentials.Plan{Rlimits: []credentials.Rlimit{{Resource: resource, Soft: soft, Hard: unix.RLIM_INFINITY}}}
	}
	for name, tt := range map[string]struct {
		i    Init
		want bool
	}{
		"plain":                {Init{Waits: true}, true},
		"run":                  {Init{}, false},
		"a hook behind it":     {Init{Waits: true, StartHooks: []hooks.Hook{{}}}, false},
		"a hook before it":     {Init{Waits: true, CreateHooks: []hooks.Hook{{}}}, true},
		"AppArmor":             {Init{Waits: true, Credentials: credentials.Plan{AppArmorProfile: "p"}}, false},
		"SELinux":              {Init{Waits: true, Credentials: credentials.Plan{SELinuxLabel: "l"}}, false},
		"a filter":             {Init{Waits: true, Seccomp: &seccomp.Program{}, Credentials: credentials.Plan{KeepSysAdmin: true}}, true},
		"a listener":           {Init{Waits: true, Seccomp: &seccomp.Program{Notify: true}}, false},
		"a terminal":           {Init{Waits: true, Terminal: true}, true},
		"address space":        {Init{Waits: true, Credentials: limit(unix.RLIMIT_AS, 1<<20)}, false},
		"enough address space": {Init{Waits: true, Credentials: limit(unix.RLIMIT_AS, 1<<30)}, true},
		"data":                 {Init{Waits: true, Credentials: limit(unix.RLIMIT_DATA, 0)}, false},
		"a stack":              {Init{Waits: true, Credentials: limit(unix.RLIMIT_STACK, 4096)}, false},
		"an ordinary stack":    {Init{Waits: true, Credentials: limit(unix.RLIMIT_STACK, 8<<20)}, true},
		"another limit":        {Init{Waits: true, Credentials: limit(unix.RLIMIT_FSIZE, 0)}, true},
	} {
		if got := tt.i.BareGate(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestGateOrder holds the order of the stub's table. Nothing may stand between
// the filter and the execve, and the first thing is to be undumpable.
func TestGateOrder(t *testing.T) {
	const settle = "become undumpable\nclose a file on exec\nset the capabilities\nclear the ambient capabilities\n"
	const name, tell = "take the name\nmap the page\n", "say that it waits\n"
	const wait = "wait until the container is recorded\nend the conversation\n"
	const admit = "wait for start\nask who is there\nturn it away\ngive it the page\nlet nobody else in\n"
	const launch = "restore the signal mask\nsay that the program is executed\n"
	const execute = "execute the program\nend\nfail"
	filter := &seccomp.Program{Filter: []seccomp.Instruction{{}}}
	for _, tt := range []struct {
		name string
		g    Gate
		want string
	}{
		{"plain", Gate{Credentials: &credentials.Plan{}, Files: GateFiles{Signals: -1}}, settle + name + wait + admit + launch + execute},
		{"full", Gate{
			Credentials: &credentials.Plan{Capabilities: credentials.Capabilities{LastCap: 3, Ambient: 2, Inheritable: 2, Permitted: 2}},
			Files:       GateFiles{Ruleset: 9}, Seccomp: filter, Hello: []byte("x"), Signals: 1<<(unix.SIGHUP-1) | 1<<(unix.SIGTERM-1),
		}, settle + "raise an ambient capability\n" + name + tell + wait + "wait for start or a signal\n" + admit + launch + "restrict the process by Landlock\nload the seccomp filter\n" + execute +
			"\ntake the signal\nend"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := nsenter.Tail{Table: new(nsenter.Table)}
			tt.g.AppendSteps(&table)
			var lines []string
			for i, s := range table.Steps {
				if s.Kind != nsenter.Jump && (len(lines) == 0 || lines[len(lines)-1] != s.Why) {
					lines = append(lines, s.Why)
				}
				if s.Target < 0 || s.Target > len(table.Steps) {
					t.Errorf("step %d goes on at %d of %d", i, s.Target, len(table.Steps))
				}
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("the steps are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
