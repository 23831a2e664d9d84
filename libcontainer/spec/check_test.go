package spec

import (
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

func check(s *specs.Spec) []string {
	var d defect.List
	Check(s, &d)
	var list []string
	for _, e := range d {
		list = append(list, e.String())
	}
	return list
}

func idMap(inside, outside, size uint32) specs.LinuxIDMapping {
	return specs.LinuxIDMapping{ContainerID: inside, HostID: outside, Size: size}
}

func TestCheckAcceptsRealConfigs(t *testing.T) {
	for name, raw := range samples(t) {
		s, err := Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := check(s); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	join := func(s *specs.Spec, ty specs.LinuxNamespaceType, path string) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: ty, Path: path})
	}
	drop := func(s *specs.Spec, ty specs.LinuxNamespaceType) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == ty })
	}
	one := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
	for _, tt := range []struct {
		name string
		edit func(s *specs.Spec)
		want []string // the beginning of each defect
	}{
		{"the example", func(*specs.Spec) {}, nil},
		{"no version", func(s *specs.Spec) { s.Version = "" }, []string{"ociVersion: missing"}},
		{"odd version", func(s *specs.Spec) { s.Version = "1.0" }, []string{`ociVersion: "1.0" is not a semantic version`}},
		{"version 2", func(s *specs.Spec) { s.Version = "2.0.0" }, []string{"ociVersion: 2.0.0 is of another major"}},
		{"version 0", func(s *specs.Spec) { s.Version = "0.6.0-dev" }, []string{"ociVersion: 0.6.0-dev is of another major"}},
		{"a newer minor version", func(s *specs.Spec) { s.Version = "1.9.0" }, nil},
		{"a development version", func(s *specs.Spec) { s.Version = "1.0.2-dev" }, nil},
		{"build metadata", func(s *specs.Spec) { s.Version = "1.1.0+dev" }, nil},
		{"no root", func(s *specs.Spec) { s.Root = nil }, []string{"root: missing"}},
		{"no root path", func(s *specs.Spec) { s.Root.Path = "" }, []string{"root.path: missing"}},
		{"no process", func(s *specs.Spec) { s.Process = nil }, []string{"process: missing"}},
		{"everything missing", func(s *specs.Spec) { *s = specs.Spec{} }, []string{"ociVersion:", "root:", "process:"}},
		{"console too large", func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Height: 65536, Width: 70000} },
			[]string{"process.consoleSize.height: 65536", "process.consoleSize.width: 70000"}},
		{"console size without terminal", func(s *specs.Spec) {
			s.Process.Terminal = false
			s.Process.ConsoleSize = &specs.Box{Height: 65536}
		}, nil},
		{"exec affinity", func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0-3,7"} }, nil},
		{"exec affinity of no CPUs", func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0-", Final: "all"} },
			[]string{"process.execCPUAffinity.initial: ", "process.execCPUAffinity.final: "}},
		{"empty annotation key", func(s *specs.Spec) { s.Annotations = map[string]string{"": "x"} }, []string{"annotations: a key is"}},

		{"no mount namespace", func(s *specs.Spec) { drop(s, specs.MountNamespace) }, nil},
		{"no mount namespace for a user namespace", func(s *specs.Spec) {
			drop(s, specs.MountNamespace)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/ns"})
		}, []string{"linux.namespaces: there is a user namespace and no mount"}},
		{"joined mount namespace", func(s *specs.Spec) {
			drop(s, specs.MountNamespace)
			join(s, specs.MountNamespace, "/proc/1/ns/mnt")
		}, nil},
		{"unknown namespace", func(s *specs.Spec) { join(s, "net", "") }, []string{`linux.namespaces[6].type: "net" is not`}},
		{"twice", func(s *specs.Spec) { join(s, specs.PIDNamespace, "/x") }, []string{"linux.namespaces[6].type: there is a pid namespace already"}},
		{"relative path", func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "proc/1/ns/net" }, []string{`linux.namespaces[1].path: "proc/1/ns/net" is not an absolute`}},
		{"NUL in path", func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/a\x00b" }, []string{`linux.namespaces[1].path: "/a\x00b" has a NUL`}},

		{"hostname on the host", func(s *specs.Spec) { drop(s, specs.UTSNamespace) }, []string{`hostname: "gourd" can be set only in a uts namespace`}},
		{"hostname in a joined namespace", func(s *specs.Spec) {
			drop(s, specs.UTSNamespace)
			join(s, specs.UTSNamespace, "/run/uts")
		}, nil},
		{"domainname on the host", func(s *specs.Spec) {
			drop(s, specs.UTSNamespace)
			s.Hostname, s.Domainname = "", "d"
		}, []string{`domainname: "d" can be set only`}},
		{"long hostname", func(s *specs.Spec) { s.Hostname = strings.Repeat("h", 65) }, []string{`hostname: "` + strings.Repeat("h", 65) + `" has 65 bytes`}},
		{"longest hostname", func(s *specs.Spec) { s.Hostname = strings.Repeat("h", 64) }, nil},

		{"user namespace without maps", func(s *specs.Spec) { join(s, specs.UserNamespace, "") }, []string{"linux.uidMappings: missing", "linux.gidMappings: missing"}},
		{"user namespace", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "")
			s.Linux.UIDMappings, s.Linux.GIDMappings = one, one
		}, nil},
		{"maps without a user namespace", func(s *specs.Spec) { s.Linux.UIDMappings = one }, []string{"linux.uidMappings: linux.namespaces has no user"}},
		{"maps for a joined one", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "/run/user")
			s.Linux.GIDMappings = one
		}, nil},
		{"bad maps for a joined one", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "/run/user")
			s.Linux.GIDMappings = []specs.LinuxIDMapping{idMap(0, 1000, 0)}
		}, []string{"linux.gidMappings[0].size: 0 maps"}},
		{"bad maps of a mount", func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{}, {UIDMappings: []specs.LinuxIDMapping{idMap(0, 1000, 1), idMap(1, 1000, 1)}, GIDMappings: one}}
		}, []string{"mounts[1].uidMappings[1]: maps ids that [0]"}},
		{"bad maps", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "")
			s.Linux.UIDMappings = []specs.LinuxIDMapping{idMap(0, 1000, 10), idMap(5, 3000, 1), idMap(20, 1009, 2), idMap(30, 4000, 0)}
			s.Linux.GIDMappings = []specs.LinuxIDMapping{idMap(1, 0, 1<<32-1), idMap(0, 5, 1)}
		}, []string{"linux.uidMappings[1]: maps ids that [0]", "linux.uidMappings[2]: maps ids that [0]", "linux.uidMappings[3].size: 0 maps",
			"linux.gidMappings[0].size: 4294967295 ids", "linux.gidMappings[1]: maps ids that [0]"}},
		{"the whole identity", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "")
			all := []specs.LinuxIDMapping{idMap(0, 0, 1<<32-1)}
			s.Linux.UIDMappings, s.Linux.GIDMappings = all, all
		}, nil},
		{"adjacent maps", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "")
			s.Linux.UIDMappings = []specs.LinuxIDMapping{idMap(0, 1000, 10), idMap(10, 1010, 5)}
			s.Linux.GIDMappings = one
		}, nil},
		{"too many maps", func(s *specs.Spec) {
			join(s, specs.UserNamespace, "")
			s.Linux.UIDMappings, s.Linux.GIDMappings = make([]specs.LinuxIDMapping, 341), one
		}, []string{"linux.uidMappings: 341 mappings"}},

		{"offsets without a time namespace", func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}}
		}, []string{"linux.timeOffsets: linux.namespaces has no time"}},
		{"offsets for a joined one", func(s *specs.Spec) {
			join(s, specs.TimeNamespace, "/run/time")
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}}
		}, []string{"linux.timeOffsets: the time namespace that"}},
		{"bad offsets", func(s *specs.Spec) {
			join(s, specs.TimeNamespace, "")
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {}, "monotonic": {Nanosecs: 1e9}, "boottime": {Secs: -1, Nanosecs: 1e9 - 1}}
		}, []string{"linux.timeOffsets.monotonic.nanosecs: 1000000000", `linux.timeOffsets: "realtime" is not a clock`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Example(false)
			tt.edit(s)
			got := check(s)
			ok := len(got) == len(tt.want)
			for i := 0; ok && i < len(got); i++ {
				ok = strings.HasPrefix(got[i], tt.want[i])
			}
			if !ok {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		version                    string
		valid, inStart, startFatal bool
	}{
		{"1.0.0", true, true, false},
		{"1.0.1", true, true, false},
		{"1.0.2", true, true, false},
		{"1.0.2+build.5", true, true, false},
		{"1.0.2-dev", true, false, false},
		{"1.0.0-rc5", true, false, false},
		{"1.0.3", true, false, false},
		{"1.1.0", true, false, false},
		{"1.2.1", true, false, false},
		{"1.3.0-rc.1", true, false, false},
		{"1.3.0", true, false, true},
		{"1.3.0-dev", true, false, true},
		{"1.3.0+dev", true, false, true},
		{"1.3.1-rc.1", true, false, true},
		{"1.10.0", true, false, true},
		{"2.0.0", true, false, false},
		{"0.1.0", true, false, false},
		{"", false, false, false},
		{"1.0", false, false, false},
		{"1.0.0.0", false, false, false},
		{"v1.0.0", false, false, false},
		{"01.0.0", false, false, false},
		{"1.0.0-", false, false, false},
		{"1.0.0-01", false, false, false},
		{"1.0.0-a..b", false, false, false},
		{"1.0.0+", false, false, false},
		{"1.0.0 ", false, false, false},
		{"1.0.99999999999999999999", false, false, false},
		{"1.0.0-0a", true, false, false},
		{"1.0.0-x-y.0", true, false, false},
	} {
		if _, ok := parseVersion(tt.version); ok != tt.valid {
			t.Errorf("%q: valid is %v", tt.version, ok)
		}
		if got := PrestartInStart(tt.version); got != tt.inStart {
			t.Errorf("%q: PrestartInStart is %v", tt.version, got)
		}
		if got := PoststartFatal(tt.version); got != tt.startFatal {
			t.Errorf("%q: PoststartFatal is %v", tt.version, got)
		}
	}
}
