package cgroups

import (
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestCompilePath(t *testing.T) {
	for _, tt := range []struct {
		name, path, own string
		want, bad       string
	}{
		{"unset, at the root", "", "/", "/web", ""},
		{"unset, beside gourd", "", "/user.slice/session-1.scope", "/user.slice/web", ""},
		{"absolute", "/gourd/web", "/user.slice/x", "/gourd/web", ""},
		{"relative", "gourd/web", "/user.slice/x", "/user.slice/gourd/web", ""},
		{"up out of the root", "/../../gourd/../web", "/x", "/web", ""},
		{"up out of the parent", "../../web", "/a/b/c", "/a/b/web", ""},
		{"beside gourd by an absolute path", "/a/bc", "/a/b", "/a/bc", ""},
		{"below gourd", "/a/b/c", "/a/b", "/a/b/c", ""},
		{"the root", "/", "/", "", `"/" is the root cgroup`},
		{"the root, in other words", "/a/..", "/", "", "is the root cgroup"},
		{"gourd's own", "/a/b", "/a/b", "", "which gourd itself is in (/a/b)"},
		{"above gourd", "/a", "/a/b", "", "which gourd itself is in (/a/b)"},
		{"gourd's own, relative", "b", "/a/b", "", "which gourd itself is in (/a/b)"},
		{"outside of the namespace", "x", "/../y", "", "outside of this cgroup namespace"},
		{"outside of the namespace, absolute", "/x", "/../y", "/x", ""},
		{"a newline", "/a\nb", "/", "", "newline"},
		{"systemd's form is a path here", "system.slice:docker:1", "/", "/system.slice:docker:1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			got := compilePath(&Env{ID: "web", CgroupsPath: tt.path, Own: tt.own}, &d)
			if tt.bad != "" {
				if len(d) != 1 || d[0].Path != "linux.cgroupsPath" || !strings.Contains(d[0].Problem, tt.bad) {
					t.Errorf("defects %v, want one with %q", d, tt.bad)
				}
				return
			}
			if len(d) > 0 || got != tt.want {
				t.Errorf("%q %v, want %q", got, d, tt.want)
			}
		})
	}
}

func TestCompileChoosesTheManager(t *testing.T) {
	limit := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(5))}}
	rules := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}
	noLimit := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}
	for _, tt := range []struct {
		name     string
		r        *specs.LinuxResources
		e        Env
		manager  string
		required bool
		bad      []string
	}{
		{"fs", nil, Env{Root: "/r", Own: "/", ID: "a"}, ManagerFS, true, nil},
		{"systemd", nil, Env{Root: "/r", Own: "/", ID: "a", Systemd: true}, ManagerSystemd, true, nil},
		{"disabled", noLimit, Env{Root: "/r", Own: "/", ID: "a", Disabled: true}, ManagerNone, true, nil},
		{"disabled, with a limit", limit, Env{Root: "/r", Disabled: true}, ManagerNone, true, []string{"linux.resources.pids.limit: cgroups are disabled"}},
		{"no cgroup2", nil, Env{ID: "a"}, ManagerFS, true, []string{"linux.cgroupsPath: no cgroup v2 hierarchy is mounted"}},
		{"rootless", noLimit, Env{Root: "/r", Own: "/", ID: "a", Rootless: true}, ManagerFS, false, nil},
		{"rootless with a limit", limit, Env{Root: "/r", Own: "/", ID: "a", Rootless: true}, ManagerFS, true, nil},
		{"rootless with a path", nil, Env{Root: "/r", Own: "/", ID: "a", Rootless: true, CgroupsPath: "/x"}, ManagerFS, true, nil},
		{"rootless with device rules", rules, Env{Root: "/r", Own: "/", ID: "a", Rootless: true}, ManagerFS, false, nil},
		{"rootless with device rules that matter", rules, Env{Root: "/r", Own: "/", ID: "a", Rootless: true, CanMknod: true}, ManagerFS, true, nil},
		{"rootless without cgroup2", nil, Env{ID: "a", Rootless: true}, ManagerNone, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			p := Compile(tt.r, tt.e, &d)
			if p.Manager != tt.manager || p.Required != tt.required {
				t.Errorf("manager %s, required %v", p.Manager, p.Required)
			}
			if !slices.EqualFunc(d, tt.bad, func(d defect.Defect, s string) bool { return strings.HasPrefix(d.String(), s) }) {
				t.Errorf("defects %v, want %v", d, tt.bad)
			}
		})
	}
}

func TestOwnerUID(t *testing.T) {
	spec := func(edit func(*specs.Spec)) *specs.Spec {
		s := &specs.Spec{
			Process: &specs.Process{User: specs.User{UID: 7}},
			Mounts:  []specs.Mount{{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"rw"}}},
			Linux: &specs.Linux{
				Namespaces:  []specs.LinuxNamespace{{Type: specs.CgroupNamespace}, {Type: specs.UserNamespace}},
				UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 5}, {ContainerID: 5, HostID: 100000, Size: 10}},
			},
		}
		edit(s)
		return s
	}
	for _, tt := range []struct {
		name string
		edit func(*specs.Spec)
		want int
	}{
		{"mapped", func(*specs.Spec) {}, 100002},
		{"not mapped", func(s *specs.Spec) { s.Process.User.UID = 15 }, -1},
		{"no user namespace", func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:1] }, 7},
		{"joined cgroup namespace", func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "/proc/1/ns/cgroup" }, -1},
		{"no cgroup namespace", func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[1:] }, -1},
		{"read-only", func(s *specs.Spec) { s.Mounts[0].Options = []string{"nosuid", "ro"} }, -1},
		{"no mount", func(s *specs.Spec) { s.Mounts = nil }, -1},
		{"elsewhere", func(s *specs.Spec) { s.Mounts[0].Destination = "/cgroup" }, -1},
		{"something else there", func(s *specs.Spec) { s.Mounts[0].Source, s.Mounts[0].Type = "tmpfs", "tmpfs" }, -1},
		{"covered by a read-only one", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup/", Type: "cgroup2", Options: []string{"ro"}})
		}, -1},
		{"no process", func(s *specs.Spec) { s.Process = nil }, 1000},
		{"not for Linux", func(s *specs.Spec) { s.Linux = nil }, -1},
	} {
		if got := OwnerUID(spec(tt.edit)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestFindInTables(t *testing.T) {
	table := "23 28 0:21 / /proc rw - proc proc rw\n" +
		"30 28 0:26 /part /mnt/part rw,relatime shared:4 - cgroup2 cgroup2 rw\n" +
		"31 28 0:26 / /mnt/with\\040space rw,relatime - cgroup2 cgroup2 rw\n"
	if got := cgroup2Mount([]byte(table)); got != "/mnt/with space" {
		t.Errorf("cgroup2Mount = %q", got)
	}
	if got := cgroup2Mount([]byte("23 28 0:21 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n")); got != "" {
		t.Errorf("cgroup2Mount of a v1 host = %q", got)
	}
	for _, tt := range []struct {
		file, want string
		ok         bool
	}{
		{"5:devices:/a\n0::/b/c\n", "/b/c", true},
		{"0::/\n", "/", true},
		{"0::/../x\n", "/../x", true},
		{"0::/a:b\n", "/a:b", true},
		{"0::/a (deleted)\n", "", false},
		{"1:name=systemd:/\n", "", false},
	} {
		got, ok := cgroup2Line([]byte(tt.file))
		if got != tt.want || ok != tt.ok {
			t.Errorf("cgroup2Line(%q) = %q %v, want %q %v", tt.file, got, ok, tt.want, tt.ok)
		}
	}
}

func TestTasks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		limit   *int64
		unified string
		want    int
	}{
		{"nothing", nil, "", -1},
		{"limit", ptr[int64](7), "", 7},
		{"the least", ptr[int64](0), "", 1},
		{"no limit", ptr[int64](-1), "", -1},
		{"unified has the last word", ptr[int64](-1), "3", 3},
		{"and can take it away", ptr[int64](7), "max", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: tt.limit}}
			if tt.unified != "" {
				r.Unified = map[string]string{"pids.max": tt.unified}
			}
			var d defect.List
			p := Compile(r, Env{Root: "/sys/fs/cgroup", Own: "/", CgroupsPath: "/c"}, &d)
			if err := d.Err(); err != nil {
				t.Fatal(err)
			}
			if got := p.Tasks(); got != tt.want {
				t.Errorf("Tasks() = %d, want %d", got, tt.want)
			}
		})
	}
}
