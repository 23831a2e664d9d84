package libcontainer

import (
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/libcontainer/plan"
)

func TestExecProcess(t *testing.T) {
	uid, gid, yes := uint32(5), uint32(6), true
	own := specs.Process{
		Terminal: true, Args: []string{"init"}, Cwd: "/srv", Env: []string{"A=1"}, ApparmorProfile: "own",
		User: specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
	}
	for _, tt := range []struct {
		name string
		e    ExecProcess
		want specs.Process
	}{
		{"the container's own, without its terminal", ExecProcess{Args: []string{"a", "b"}}, specs.Process{
			Args: []string{"a", "b"}, Cwd: "/srv", Env: []string{"A=1"}, ApparmorProfile: "own",
			User: specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
		}},
		{"everything replaced or added", ExecProcess{
			Args: []string{"a"}, Cwd: "/x", Env: []string{"B=2"}, AppArmorProfile: "p", SELinuxLabel: "l",
			UID: &uid, GID: &gid, AdditionalGIDs: []uint32{4}, NoNewPrivileges: &yes, Terminal: true,
			Capabilities: []string{"CAP_KILL"},
		}, specs.Process{
			Terminal: true, Args: []string{"a"}, Cwd: "/x", Env: []string{"A=1", "B=2"}, ApparmorProfile: "p", SelinuxLabel: "l",
			User: specs.User{UID: 5, GID: 6, AdditionalGids: []uint32{3, 4}}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{
				Bounding: []string{"CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"},
			},
		}},
		{"a user keeps the container's group", ExecProcess{Args: []string{"a"}, UID: &uid}, specs.Process{
			Args: []string{"a"}, Cwd: "/srv", Env: []string{"A=1"}, ApparmorProfile: "own",
			User: specs.User{UID: 5, GID: 2, AdditionalGids: []uint32{3}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := plan.ForExec{Process: own}
			got, _, err := tt.e.in(&k)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tt.want)
			}
		})
	}
	if _, _, err := (&ExecProcess{}).in(&plan.ForExec{Process: own}); err == nil {
		t.Error("no args were accepted")
	}
}

func TestExecCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name        string
		inheritable []string
		ambient     []string // wanted
	}{
		{"never inheritable, and so not ambient", nil, nil},
		{"ambient where the container has inheritable ones", []string{"CAP_KILL"}, []string{"CAP_KILL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := ExecProcess{Capabilities: []string{"CAP_KILL"}}
			got := e.capabilities(&specs.LinuxCapabilities{Inheritable: tt.inheritable})
			if !reflect.DeepEqual(got.Inheritable, tt.inheritable) || !reflect.DeepEqual(got.Ambient, tt.ambient) || len(got.Bounding) != 1 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSubCgroup(t *testing.T) {
	for _, tt := range []struct {
		arg string
		ok  bool
	}{
		{"/", true}, {"a", true}, {"/a/b", true}, {"a/../b", true}, {"..a", true},
		{"..", false}, {"../a", false}, {"a/../..", false}, {"memory:a", false}, {"cpu,memory:/", false},
	} {
		if _, err := subCgroup(tt.arg); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.arg, err)
		}
	}
}
