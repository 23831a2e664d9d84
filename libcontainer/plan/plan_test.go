//lint:file-ignore SA1019 prestart hooks are deprecated, and still what engines write

package plan

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/nsenter"
)

var rootFacts = &host.Facts{InitialUserNS: true, Bounding: 1<<41 - 1, LastCap: 40}

var testOptions = Options{ID: "c1", CgroupManager: "cgroupfs", CgroupRoot: "/sys/fs/cgroup", CgroupOwn: "/"}

// bundle returns the example bundle, changed, with a rootfs that exists.
func bundle(t *testing.T, change func(*specs.Spec)) *spec.Bundle {
	t.Helper()
	s := spec.Example(false)
	s.Root.Path = t.TempDir()
	if change != nil {
		change(s)
	}
	return &spec.Bundle{Dir: t.TempDir(), Spec: s}
}

func TestBuildOfTheExample(t *testing.T) {
	b := bundle(t, func(s *specs.Spec) { s.Annotations = map[string]string{"b": "2", "a": "1"} })
	p, err := Build(b, rootFacts, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	const six = unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP
	if p.Enter.New&six != six || len(p.Enter.Join) != 0 {
		t.Errorf("namespaces: new %#x, join %v", p.Enter.New, p.Enter.Join)
	}
	if want := []Annotation{{"a", "1"}, {"b", "2"}}; !reflect.DeepEqual(p.State.Annotations, want) {
		t.Errorf("annotations %v, want %v", p.State.Annotations, want)
	}
	if !p.Init.LoopbackUp || p.Init.HookSync || p.Init.JoinMountNS || !p.Terminal {
		t.Errorf("init: %+v", p.Init)
	}
	if p.Cgroup.Path != "/c1" {
		t.Errorf("cgroup %q", p.Cgroup.Path)
	}
}

// TestInitIsPlainData sends a full plan through the codec: whatever is added
// to a plan must survive the way to init.
func TestInitIsPlainData(t *testing.T) {
	b := bundle(t, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/h", Args: []string{"h"}, Env: []string{"A=b"}}}}
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"mkdir"}, Action: specs.ActErrno},
		}}
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0,64"}
		s.Annotations = map[string]string{"a": "b"}
	})
	p, err := Build(b, rootFacts, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	data, err := protocol.Marshal(&p.Init)
	if err != nil {
		t.Fatal(err)
	}
	var got Init
	if err := protocol.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(p.Init)
	if have, _ := json.Marshal(got); string(have) != string(want) {
		t.Errorf("init gets\n%s\nwant\n%s", have, want)
	}
	if got.Seccomp == nil || len(got.Seccomp.Filter) == 0 {
		t.Error("the filter got lost")
	}
}

func TestEveryDefectIsTold(t *testing.T) {
	b := bundle(t, func(s *specs.Spec) {
		s.Process.Args = nil
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOPE"}}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/", Options: []string{"bind", "idmap"}})
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "relative"}}}
		s.Linux.Resources = &specs.LinuxResources{Unified: map[string]string{"a/b": "1"}}
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_NOPE"}
	})
	_, err := Build(b, rootFacts, testOptions)
	var e *defect.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	for _, path := range []string{
		"process.args", "process.rlimits[0]", "mounts[7]", "hooks.poststop[0].path", "linux.resources.unified", "linux.seccomp.defaultAction",
	} {
		found := false
		for _, d := range e.Defects {
			found = found || strings.HasPrefix(d.Path, path)
		}
		if !found {
			t.Errorf("no defect at %s in: %v", path, err)
		}
	}
}

func TestHookSync(t *testing.T) {
	h := []specs.Hook{{Path: "/h"}}
	for _, tt := range []struct {
		name, version string
		hooks         specs.Hooks
		want          bool
	}{
		{"none", "1.3.0", specs.Hooks{}, false},
		{"prestart in create", "1.0.2-dev", specs.Hooks{Prestart: h}, true},
		{"prestart in start", "1.0.2", specs.Hooks{Prestart: h}, false},
		{"createRuntime", "1.0.2", specs.Hooks{CreateRuntime: h}, true},
		{"createContainer", "1.3.0", specs.Hooks{CreateContainer: h}, true},
		{"later ones only", "1.3.0", specs.Hooks{StartContainer: h, Poststart: h, Poststop: h}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bundle(t, func(s *specs.Spec) { s.Version, s.Hooks = tt.version, &tt.hooks })
			p, err := Build(b, rootFacts, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			if p.Init.HookSync != tt.want {
				t.Errorf("HookSync %v", p.Init.HookSync)
			}
		})
	}
}

func TestCompileEnter(t *testing.T) {
	offsets := map[string]specs.LinuxTimeOffset{"boottime": {Secs: 7}, "monotonic": {Secs: 5, Nanosecs: 9}}
	s := &specs.Spec{Linux: &specs.Linux{
		Namespaces: []specs.LinuxNamespace{
			{Type: specs.UserNamespace}, {Type: specs.TimeNamespace}, {Type: specs.PIDNamespace, Path: "/proc/1/ns/pid"},
		},
		UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}},
		GIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 2000, Size: 10}},
		TimeOffsets: offsets,
	}}
	var d defect.List
	got := compileEnter(s, rootFacts, &d)
	want := Enter{
		New:     unix.CLONE_NEWUSER | unix.CLONE_NEWTIME,
		Join:    []Join{{unix.CLONE_NEWPID, "/proc/1/ns/pid", "linux.namespaces[2].path"}},
		UIDMaps: []nsenter.IDMap{{Inside: 0, Outside: 1000, Size: 10}},
		GIDMaps: []nsenter.IDMap{{Inside: 0, Outside: 2000, Size: 10}},
		Offsets: []nsenter.Offset{{Clock: "monotonic", Secs: 5, Nanosecs: 9}, {Clock: "boottime", Secs: 7}},
	}
	if d.Err() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v)\nwant %+v", got, d.Err(), want)
	}
	user := &host.Facts{EUID: 1000, InitialUserNS: true}
	if got := compileEnter(s, user, &d); d.Err() != nil || !got.MapHelpers || got.DenySetgroups {
		t.Errorf("an ordinary user maps ten ids: got %+v (%v)", got, d.Err())
	}
	own := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
	s.Linux.UIDMappings, s.Linux.GIDMappings = own, own
	if got := compileEnter(s, user, &d); d.Err() != nil || got.MapHelpers || !got.DenySetgroups {
		t.Errorf("an ordinary user maps the own id: got %+v (%v)", got, d.Err())
	}
}

func TestNoSetgroups(t *testing.T) {
	join := []Join{{Flag: unix.CLONE_NEWUSER, Path: "/proc/1/ns/user"}}
	for _, tt := range []struct {
		name   string
		enter  Enter
		denied bool // where gourd is
		want   bool
	}{
		{"it is allowed", Enter{New: unix.CLONE_NEWUSER}, false, false},
		{"an ordinary user's", Enter{New: unix.CLONE_NEWUSER, DenySetgroups: true}, false, true},
		{"gourd's own", Enter{}, true, true},
		{"made in gourd's", Enter{New: unix.CLONE_NEWUSER}, true, true},
		{"another's", Enter{Join: join}, true, false},
	} {
		if got := tt.enter.noSetgroups(&host.Facts{SetgroupsDenied: tt.denied}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestStateJSON(t *testing.T) {
	s := State{OCIVersion: "1.3.0", ID: "c1", Bundle: "/b", Annotations: []Annotation{{"k", "v"}}}
	const want = `{"ociVersion":"1.3.0","id":"c1","status":"creating","pid":7,"bundle":"/b","annotations":{"k":"v"}}`
	if got := string(s.JSON(specs.StateCreating, 7)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
