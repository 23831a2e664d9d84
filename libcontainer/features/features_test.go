package features

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/netdevices"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/resctrl"
	"github.com/gourd-oci/gourd/seccomp"
)

// defectsAt returns the defects at a JSON path or below it.
func defectsAt(d defect.List, path string) (found defect.List) {
	for _, one := range d {
		if rest, ok := strings.CutPrefix(one.Path, path); ok && (rest == "" || strings.ContainsRune(".[", rune(rest[0]))) {
			found = append(found, one)
		}
	}
	return found
}

func TestVersions(t *testing.T) {
	f := Supported("1.2.3", "abc")
	for _, v := range []string{f.OCIVersionMin, f.OCIVersionMax} {
		var d defect.List
		spec.Check(&specs.Spec{Version: v}, &d)
		if bad := defectsAt(d, "ociVersion"); len(bad) > 0 {
			t.Errorf("%s is refused: %v", v, bad)
		}
	}
	if f.Annotations[AnnotationVersion] != "1.2.3" || f.Annotations[AnnotationCommit] != "abc" {
		t.Errorf("annotations are %v", f.Annotations)
	}
	if _, ok := Supported("1", "").Annotations[AnnotationCommit]; ok {
		t.Error("a commit that is not known is told")
	}
}

// TestHooks: each name is a phase that hooks.Compile reads, and there is no other.
func TestHooks(t *testing.T) {
	names := Supported("", "").Hooks
	for _, name := range names {
		var h specs.Hooks
		if err := json.Unmarshal([]byte(`{"`+name+`":[{"path":"/x"}]}`), &h); err != nil {
			t.Fatal(err)
		}
		var d defect.List
		p := hooks.Compile(&h, &d)
		if reflect.DeepEqual(p, hooks.Plan{}) || len(d) > 0 {
			t.Errorf("%s: got the plan %+v, defects %v", name, p, d)
		}
	}
	if n := reflect.TypeFor[hooks.Plan]().NumField(); n != len(names) {
		t.Errorf("%d names for %d phases", len(names), n)
	}
}

func TestNamespaces(t *testing.T) {
	check := func(name string) defect.List {
		var d defect.List
		spec.Check(&specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.LinuxNamespaceType(name)}}}}, &d)
		return defectsAt(d, "linux.namespaces[0]")
	}
	names := Supported("", "").Linux.Namespaces
	if len(names) != 8 || !slices.IsSorted(names) {
		t.Errorf("got %v", names)
	}
	for _, name := range names {
		if bad := check(name); len(bad) > 0 {
			t.Errorf("%s is refused: %v", name, bad)
		}
	}
	if len(check("mnt")) == 0 {
		t.Error("mnt is not refused: the test tests nothing")
	}
}

// TestMountOptions: each option is accepted on a mount of some kind, and is not
// taken for a parameter of the filesystem.
func TestMountOptions(t *testing.T) {
	accepted := func(m specs.Mount) bool {
		var d defect.List
		p := rootfs.Compile(&specs.Spec{Root: &specs.Root{Path: "/rootfs"}, Mounts: []specs.Mount{m}}, rootfs.Env{Bundle: "/b", HostUserNS: true, NewUserNS: true}, &d)
		if len(defectsAt(d, "mounts")) > 0 || len(p.Mounts) != 1 {
			return false
		}
		for _, param := range p.Mounts[0].Params {
			if i := slices.Index(m.Options, param.Key); i >= 0 && !param.Flag {
				return false
			}
		}
		return true
	}
	tmpfs := func(o string) specs.Mount { return specs.Mount{Destination: "/m", Type: "tmpfs", Options: []string{o}} }
	bind := func(o string) specs.Mount {
		return specs.Mount{Destination: "/m", Source: "/", Options: []string{"bind", o}}
	}
	names := Supported("", "").MountOptions
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) || len(names) < 50 {
		t.Errorf("got %d options: %v", len(names), names)
	}
	for _, name := range names {
		if !accepted(tmpfs(name)) && !accepted(bind(name)) {
			t.Errorf("%s is refused", name)
		}
	}
}

func TestCapabilities(t *testing.T) {
	names := Supported("", "").Linux.Capabilities
	if len(names) < 41 || names[0] != "CAP_CHOWN" {
		t.Errorf("got %v", names)
	}
	e := credentials.Env{Bounding: 1<<64 - 1, LastCap: len(names) - 1}
	for _, name := range names {
		p := &specs.Process{Args: []string{"x"}, Cwd: "/", Capabilities: &specs.LinuxCapabilities{Bounding: []string{name}}}
		var d defect.List
		if _, warnings := credentials.Compile(p, &specs.Spec{Process: p}, e, &d); len(warnings) > 0 || len(d) > 0 {
			t.Errorf("%s: %v, %v", name, warnings, d)
		}
	}
}

func TestSeccomp(t *testing.T) {
	s := Supported("", "").Linux.Seccomp
	base := func() *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, ListenerPath: "/run/agent.sock"}
	}
	compile := func(p *specs.LinuxSeccomp) defect.List {
		var d defect.List
		seccomp.Compile(p, seccomp.Env{}, &d)
		return d
	}
	call := func(action, op string) []specs.LinuxSyscall {
		return []specs.LinuxSyscall{{
			Names: []string{"kill"}, Action: specs.LinuxSeccompAction(action),
			Args: []specs.LinuxSeccompArg{{Op: specs.LinuxSeccompOperator(op)}},
		}}
	}
	for _, name := range s.Actions {
		p := base()
		p.Syscalls = call(name, "SCMP_CMP_EQ")
		if bad := compile(p); len(bad) > 0 {
			t.Errorf("%s is refused: %v", name, bad)
		}
	}
	for _, name := range s.Operators {
		p := base()
		p.Syscalls = call("SCMP_ACT_ALLOW", name)
		if bad := compile(p); len(bad) > 0 {
			t.Errorf("%s is refused: %v", name, bad)
		}
	}
	for _, name := range s.Archs {
		p := base()
		p.Architectures = []specs.Arch{specs.Arch(name)}
		if bad := compile(p); len(bad) > 0 {
			t.Errorf("%s is refused: %v", name, bad)
		}
	}
	for _, name := range s.KnownFlags {
		p := base()
		p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlag(name)}
		p.Syscalls = call("SCMP_ACT_NOTIFY", "SCMP_CMP_EQ")
		if bad := compile(p); len(bad) > 0 {
			t.Errorf("%s is refused: %v", name, bad)
		}
		if _, ok := flagBits(name); !ok {
			t.Errorf("%s is known, but nobody asks the kernel for it", name)
		}
	}
	// SECCOMP_FILTER_FLAG_TSYNC is as old as seccomp(2), Linux 3.17.
	if !slices.Contains(s.SupportedFlags, "SECCOMP_FILTER_FLAG_TSYNC") {
		t.Errorf("the kernel takes %v only", s.SupportedFlags)
	}
	if len(supportedFlags([]string{"SECCOMP_FILTER_FLAG_NOPE"})) != 0 {
		t.Error("a flag that does not exist is supported")
	}
}

// TestMemoryPolicy: each mode and each flag is taken, and what the spec has is
// told.
func TestMemoryPolicy(t *testing.T) {
	m := Supported("", "").Linux.MemoryPolicy
	compile := func(p specs.LinuxMemoryPolicy) (d defect.List) {
		credentials.Compile(&specs.Process{Args: []string{"x"}, Cwd: "/"}, &specs.Spec{Linux: &specs.Linux{MemoryPolicy: &p}}, credentials.Env{}, &d)
		return d
	}
	for _, mode := range m.Modes {
		p := specs.LinuxMemoryPolicy{Mode: specs.MemoryPolicyModeType(mode), Nodes: "0"}
		if mode == "MPOL_DEFAULT" || mode == "MPOL_LOCAL" {
			p.Nodes = ""
		}
		if bad := compile(p); len(bad) > 0 {
			t.Errorf("%s is refused: %v", mode, bad)
		}
	}
	for _, flag := range m.Flags {
		p := specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MemoryPolicyFlagType(flag)}}
		if bad := compile(p); len(bad) > 0 {
			t.Errorf("%s is refused: %v", flag, bad)
		}
	}
	if len(m.Modes) != 7 || len(m.Flags) != 3 {
		t.Errorf("told: %v, %v", m.Modes, m.Flags)
	}
}

// TestYesAndNo holds each yes and no against the code: what is told to be
// missing must be refused by its JSON path, and what is told to be there must not.
func TestYesAndNo(t *testing.T) {
	l := Supported("", "").Linux
	cgroup := func(r *specs.LinuxResources, e cgroups.Env) (d defect.List) {
		e.ID = "x"
		cgroups.Compile(r, e, &d)
		return d
	}
	here := cgroups.Env{Root: "/sys/fs/cgroup", Own: "/"}
	one := uint32(1)
	lsm := func(p specs.Process) defect.List {
		p.Args, p.Cwd = []string{"x"}, "/"
		var d defect.List
		credentials.Compile(&p, &specs.Spec{Process: &p}, credentials.Env{AppArmor: true, SELinux: true}, &d)
		return d
	}
	idmap := func() defect.List {
		var d defect.List
		ids := []specs.LinuxIDMapping{{HostID: 1000, Size: 1}}
		rootfs.Compile(&specs.Spec{Root: &specs.Root{Path: "/rootfs"}, Mounts: []specs.Mount{{
			Destination: "/m", Source: "/", Options: []string{"bind", "idmap"}, UIDMappings: ids, GIDMappings: ids,
		}}}, rootfs.Env{Bundle: "/b", HostUserNS: true}, &d)
		return defectsAt(d, "mounts")
	}
	rdt := func(r specs.LinuxIntelRdt) (d defect.List) {
		resctrl.Compile(&r, resctrl.Env{Root: "/sys/fs/resctrl", ID: "x"}, &d)
		return d
	}
	netDevices := func() (d defect.List) {
		netdevices.Compile(map[string]specs.LinuxNetDevice{"eth9": {}}, netdevices.Env{Network: true}, &d)
		return d
	}
	for _, tt := range []struct {
		name    string
		told    *bool
		defects defect.List
	}{
		{"netDevices", l.NetDevices.Enabled, netDevices()},
		{"intelRdt", l.IntelRdt.Enabled, rdt(specs.LinuxIntelRdt{})},
		{"intelRdt.schemata", l.IntelRdt.Schemata, rdt(specs.LinuxIntelRdt{Schemata: []string{"L3:0=f"}})},
		{"intelRdt.monitoring", l.IntelRdt.Monitoring, rdt(specs.LinuxIntelRdt{EnableMonitoring: true})},
		{"idmap", l.MountExtensions.IDMap.Enabled, idmap()},
		{"apparmor", l.Apparmor.Enabled, lsm(specs.Process{ApparmorProfile: "p"})},
		{"selinux", l.Selinux.Enabled, lsm(specs.Process{SelinuxLabel: "a:b:c:d"})},
		{"cgroup v2", l.Cgroup.V2, cgroup(nil, here)},
		{"cgroup v1", l.Cgroup.V1, cgroup(nil, cgroups.Env{})},
		{"cgroup rdma", l.Cgroup.Rdma, cgroup(&specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: &one}}}, here)},
	} {
		if tt.told == nil {
			t.Errorf("%s: nothing is told, which means unknown", tt.name)
		} else if accepted := len(tt.defects) == 0; *tt.told != accepted {
			t.Errorf("%s: told to be %v, but Compile accepts it: %v %v", tt.name, *tt.told, accepted, tt.defects)
		}
	}
}
