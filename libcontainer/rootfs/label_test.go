package rootfs

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// TestMountLabel shows which filesystems get the context; without a kernel
// that has SELinux no test can show what it does.
func TestMountLabel(t *testing.T) {
	const label = "system_u:object_r:container_file_t:s0:c1,c2"
	s := &specs.Spec{
		Root: &specs.Root{Path: "/r"},
		Linux: &specs.Linux{
			MountLabel: label,
			Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace}, {Type: specs.IPCNamespace}},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc"},
			{Destination: "/dev", Type: "tmpfs", Options: []string{"mode=755"}},
			{Destination: "/dev/pts", Type: "devpts"},
			{Destination: "/dev/mqueue", Type: "mqueue"},
			{Destination: "/sys", Type: "sysfs"},
			{Destination: "/sys/fs/cgroup", Type: "cgroup"},
			{Destination: "/own", Type: "tmpfs", Options: []string{`context="a:b:c:s0:c3,c4"`}},
			{Destination: "/vol", Type: "bind", Source: "/v", Options: []string{"bind"}},
		},
	}
	var d defect.List
	p := Compile(s, Env{SELinux: true, HostUserNS: true, NewCgroupNS: true}, &d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"/dev": label, "/dev/pts": label, "/own": "a:b:c:s0:c3,c4"}
	for _, m := range p.Mounts {
		got := ""
		for _, param := range m.Params {
			if param.Key == "context" {
				got += param.Value
			}
		}
		if wantRoot := m.Type == "mqueue"; (m.RootLabel == label) != wantRoot || (m.RootLabel != "") != wantRoot {
			t.Errorf("the root of %s has the context %q", m.Destination, m.RootLabel)
		}
		if got != want[m.Destination] {
			t.Errorf("%s has the context %q, want %q", m.Destination, got, want[m.Destination])
		}
	}
	if params := MaskParams(p.MountLabel); params[len(params)-1] != (Param{Key: "context", Value: label}) {
		t.Errorf("masks have %v", params)
	}
	if got := legacyData(p.Mounts[1].Params); !strings.Contains(got, `context="`+label+`"`) {
		t.Errorf("for mount(2): %s", got)
	}

	unknown := Env{SELinux: true, HostUserNS: true, NewCgroupNS: true, UnknownLabels: []string{label}}
	if Compile(s, unknown, &d); len(d) != 1 || d[0].Path != "linux.mountLabel" || !strings.Contains(d[0].Problem, "is no context") {
		t.Errorf("a label that the policy does not have: %v", d)
	}
	s.Linux.MountLabel, d = `a"b`, nil
	if Compile(s, Env{SELinux: true, HostUserNS: true, NewCgroupNS: true}, &d); d.Err() == nil {
		t.Error("a label with a quotation mark was taken")
	}
}
