package credentials

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

const lastCap = 40

// full is the Env of a gourd that lacks nothing.
func full() Env { return Env{Bounding: 1<<(lastCap+1) - 1, LastCap: lastCap, ID: "web"} }

func process() *specs.Process { return &specs.Process{Args: []string{"sh"}, Cwd: "/"} }

func ptr[T any](v T) *T { return &v }

func bits(ns ...int) (b uint64) {
	for _, n := range ns {
		b |= 1 << n
	}
	return b
}

func TestCompileDefaults(t *testing.T) {
	var d defect.List
	got, warnings := Compile(process(), &specs.Spec{}, full(), &d)
	want := Plan{Args: []string{"sh"}, Env: []string{}, Cwd: "/", Umask: 0o022, Capabilities: Capabilities{LastCap: lastCap}, Keyring: "_ses.web"}
	if len(d) > 0 || len(warnings) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("defects %v, warnings %v\ngot  %+v\nwant %+v", d, warnings, got, want)
	}
	if got, _ := Compile(nil, nil, full(), &d); !reflect.DeepEqual(got, Plan{}) || len(d) > 0 {
		t.Errorf("no process: %+v, %v", got, d)
	}
}

// memoryPolicy returns what gives a config this policy.
func memoryPolicy(mode, nodes string, flags ...specs.MemoryPolicyFlagType) func(*specs.Process, *specs.Spec, *Env) {
	return func(_ *specs.Process, s *specs.Spec, _ *Env) {
		s.Linux = &specs.Linux{MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MemoryPolicyModeType(mode), Nodes: nodes, Flags: flags}}
	}
}

func TestCompileDefects(t *testing.T) {
	userNS := func(s *specs.Spec, e *Env) {
		e.NewUserNS = true
		s.Linux = &specs.Linux{
			UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 100, HostID: 5000, Size: 10}},
			GIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 5}},
		}
	}
	for _, tt := range []struct {
		name string
		edit func(p *specs.Process, s *specs.Spec, e *Env)
		want []string // the beginning of each defect
	}{
		{"no args", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Args = nil }, []string{"process.args: missing"}},
		{"an empty program", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Args = []string{"", "x"} }, []string{"process.args: missing"}},
		{"an empty argument", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Args = []string{"x", ""} }, nil},
		{"NUL in args", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Args = []string{"x", "a\x00b"} }, []string{"process.args[1]: "}},
		{"no cwd", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Cwd = "" }, []string{"process.cwd: missing"}},
		{"relative cwd", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Cwd = "tmp" }, []string{`process.cwd: "tmp" is not an absolute`}},
		{"NUL in cwd", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Cwd = "/\x00" }, []string{`process.cwd: "/\x00" has a NUL`}},
		{"bad env", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Env = []string{"A=1", "B", "=C", "D=\x00"} },
			[]string{"process.env[1]: ", "process.env[2]: ", "process.env[3]: "}},
		{"umask", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.User.Umask = ptr(uint32(0o1000)) }, []string{"process.user.umask: 01000"}},
		{"no such ids", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.User = specs.User{UID: noID, GID: noID, AdditionalGids: []uint32{1, noID}}
		}, []string{"process.user.uid: 4294967295", "process.user.gid: 4294967295", "process.user.additionalGids[1]: 4294967295"}},
		{"the highest ids", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.User = specs.User{UID: noID - 1, GID: noID - 1} }, nil},
		{"too many groups", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.User.AdditionalGids = make([]uint32, maxGroups+1) },
			[]string{"process.user.additionalGids: 65537"}},
		{"unmapped ids", func(p *specs.Process, s *specs.Spec, e *Env) {
			userNS(s, e)
			p.User = specs.User{UID: 110, GID: 5, AdditionalGids: []uint32{4, 5}}
		}, []string{"process.user.uid: linux.uidMappings do not map uid 110", "process.user.gid: linux.gidMappings do not map gid 5", "process.user.additionalGids[1]: "}},
		{"mapped ids", func(p *specs.Process, s *specs.Spec, e *Env) {
			userNS(s, e)
			p.User = specs.User{UID: 109, GID: 4}
		}, nil},
		{"groups where setgroups is denied", func(p *specs.Process, _ *specs.Spec, e *Env) {
			e.SetgroupsDenied = true
			p.User.AdditionalGids = []uint32{0}
		}, []string{"process.user.additionalGids: setgroups(2) is denied in the user namespace"}},
		{"no groups where setgroups is denied", func(_ *specs.Process, _ *specs.Spec, e *Env) { e.SetgroupsDenied = true }, nil},
		{"rlimits", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.Rlimits = []specs.POSIXRlimit{
				{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 2}, {Type: "RLIMIT_FOO"}, {Type: "RLIMIT_NOFILE", Soft: 5, Hard: 5},
				{Type: "rlimit_core"}, {Type: "RLIMIT_CORE", Soft: 9, Hard: 8},
			}
		}, []string{`process.rlimits[1].type: "RLIMIT_FOO"`, "process.rlimits[2].type: RLIMIT_NOFILE has a limit already, in [0]", "process.rlimits[3].type: ", "process.rlimits[4].soft: 9 is more"}},
		{"oom score", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.OOMScoreAdj = ptr(1001) }, []string{"process.oomScoreAdj: 1001"}},
		{"low oom score", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.OOMScoreAdj = ptr(-1001) }, []string{"process.oomScoreAdj: -1001"}},
		{"lowest oom score", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.OOMScoreAdj = ptr(-1000) }, nil},
		{"no policy", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.Scheduler = &specs.Scheduler{} }, []string{`process.scheduler.policy: ""`}},
		{"scheduler", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: 20, Priority: 1, Runtime: 1, Flags: []specs.LinuxSchedulerFlag{"X"}}
		}, []string{`process.scheduler.flags[0]: "X"`, "process.scheduler.nice: 20", "process.scheduler.priority: SCHED_OTHER has no", "process.scheduler: runtime"}},
		{"real time without priority", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.Scheduler = &specs.Scheduler{Policy: specs.SchedFIFO}
		}, []string{"process.scheduler.priority: 0 is not between 1 and 99"}},
		{"deadline", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 3, Deadline: 2, Period: 5}
		}, []string{"process.scheduler: SCHED_DEADLINE needs"}},
		{"good deadline", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1, Deadline: 2, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagReclaim}}
		}, nil},
		{"io priority", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.IOPriority = &specs.LinuxIOPriority{Class: "x", Priority: 8}
		},
			[]string{`process.ioPriority.class: "x"`, "process.ioPriority.priority: 8"}},
		{"personality", func(_ *specs.Process, s *specs.Spec, _ *Env) {
			s.Linux = &specs.Linux{Personality: &specs.LinuxPersonality{Domain: "BSD", Flags: []specs.LinuxPersonalityFlag{"x"}}}
		}, []string{`linux.personality.domain: "BSD"`, "linux.personality.flags: "}},
		{"memory policy", memoryPolicy("MPOL_BIND", "0-3,7", "MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"), nil},
		{"memory policies without nodes", memoryPolicy("MPOL_DEFAULT", ""), nil},
		{"preferred", memoryPolicy("MPOL_PREFERRED", "1", "MPOL_F_RELATIVE_NODES"), nil},
		{"preferred, here", memoryPolicy("MPOL_PREFERRED", ""), nil},
		{"no memory policy mode", memoryPolicy("", "0"), []string{"linux.memoryPolicy.mode: invalid memory policy mode \"\": it is one of MPOL_DEFAULT, "}},
		{"odd memory policy", memoryPolicy("INTERLEAVE", "0-", "MPOL_F_STATIC_NODES", "x"),
			[]string{`linux.memoryPolicy.mode: invalid memory policy mode "INTERLEAVE": `, `linux.memoryPolicy.nodes: invalid memory policy nodes "0-": they are not a list like 0-3,7: `, `linux.memoryPolicy.flags[1]: invalid memory policy flag "x": `}},
		{"memory nodes without end", memoryPolicy("MPOL_BIND", "0-9876543210"), []string{`linux.memoryPolicy.nodes: invalid memory policy nodes "0-9876543210": `}},
		{"memory nodes missing", memoryPolicy("MPOL_INTERLEAVE", ""), []string{"linux.memoryPolicy.nodes: missing: MPOL_INTERLEAVE needs"}},
		{"memory nodes for none", memoryPolicy("MPOL_LOCAL", "0", "MPOL_F_STATIC_NODES"),
			[]string{"linux.memoryPolicy.nodes: MPOL_LOCAL takes none: the mode requires 0 nodes but got 1", "linux.memoryPolicy.flags: MPOL_LOCAL has no nodes"}},
		{"preferred without nodes", memoryPolicy("MPOL_PREFERRED", "", "MPOL_F_STATIC_NODES"), []string{"linux.memoryPolicy.flags: MPOL_PREFERRED without nodes"}},
		{"static and relative", memoryPolicy("MPOL_BIND", "0", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"), []string{"linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and"}},
		{"balancing of another mode", memoryPolicy("MPOL_INTERLEAVE", "0", "MPOL_F_NUMA_BALANCING"), []string{"linux.memoryPolicy.flags: MPOL_F_NUMA_BALANCING is for"}},
		{"no LSM", func(p *specs.Process, _ *specs.Spec, _ *Env) {
			p.ApparmorProfile, p.SelinuxLabel = "docker-default", "a:b:c:s0"
		},
			[]string{`process.apparmorProfile: "docker-default" cannot be applied: AppArmor is not enabled`, `process.selinuxLabel: "a:b:c:s0" cannot be applied: SELinux is not`}},
		{"unconfined without AppArmor", func(p *specs.Process, _ *specs.Spec, _ *Env) { p.ApparmorProfile = "unconfined" }, nil},
		{"odd labels", func(p *specs.Process, _ *specs.Spec, e *Env) {
			e.AppArmor, e.SELinux = true, true
			p.ApparmorProfile, p.SelinuxLabel = "a\nb", "a\x00"
		}, []string{"process.apparmorProfile: ", "process.selinuxLabel: "}},
		{"a label that the policy does not have", func(p *specs.Process, _ *specs.Spec, e *Env) {
			e.SELinux, e.UnknownLabels = true, []string{"a:b:c:s0"}
			p.SelinuxLabel = "a:b:c:s0"
		}, []string{`process.selinuxLabel: "a:b:c:s0" is no context of the SELinux policy`}},
		{"seccomp without CAP_SYS_ADMIN", func(_ *specs.Process, _ *specs.Spec, e *Env) {
			e.HasSeccomp = true
			e.Bounding &^= 1 << unix.CAP_SYS_ADMIN
		}, []string{"linux.seccomp: without process.noNewPrivileges"}},
		{"seccomp with no_new_privs needs none", func(p *specs.Process, _ *specs.Spec, e *Env) {
			e.HasSeccomp, p.NoNewPrivileges = true, true
			e.Bounding = 0
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, s, e := process(), &specs.Spec{}, full()
			tt.edit(p, s, &e)
			var d defect.List
			Compile(p, s, e, &d)
			ok := len(d) == len(tt.want)
			for i := 0; ok && i < len(d); i++ {
				ok = strings.HasPrefix(d[i].String(), tt.want[i])
			}
			if !ok {
				t.Errorf("got  %q\nwant %q", d, tt.want)
			}
		})
	}
}

func TestCompileValues(t *testing.T) {
	p, s, e := process(), &specs.Spec{Linux: &specs.Linux{Personality: &specs.LinuxPersonality{Domain: specs.PerLinux32}}}, full()
	e.AppArmor, e.SELinux, e.HasSeccomp, e.JoinedUserNS, e.NoNewKeyring = true, true, true, true, true
	p.User = specs.User{UID: 5, GID: 6, Umask: ptr(uint32(0o77)), AdditionalGids: []uint32{7, 7, 0}, Username: "ignored"}
	p.Env = []string{"A=1", "B=2", "A=3", "HOME=", "C="}
	p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 0, Hard: unix.RLIM_INFINITY}, {Type: "RLIMIT_NICE", Soft: 1, Hard: 1}}
	p.OOMScoreAdj = ptr(-5)
	p.Scheduler = &specs.Scheduler{Policy: specs.SchedRR, Priority: 3, Nice: -1, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork, specs.SchedFlagKeepParams}}
	p.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 4}
	p.ApparmorProfile, p.SelinuxLabel = "docker-default", "u:r:t:s0"
	var d defect.List
	got, warnings := Compile(p, s, e, &d)
	want := Plan{
		Args: []string{"sh"}, Env: []string{"B=2", "A=3", "C="}, Cwd: "/", UID: 5, GID: 6, Groups: []uint32{7, 7, 0}, UserNS: true, Umask: 0o77,
		Capabilities: Capabilities{LastCap: lastCap}, KeepSysAdmin: true,
		Rlimits:     []Rlimit{{unix.RLIMIT_CORE, 0, unix.RLIM_INFINITY, 0}, {unix.RLIMIT_NICE, 1, 1, 1}},
		OOMScoreAdj: ptr(-5), Scheduler: &Scheduler{Policy: unix.SCHED_RR, Flags: unix.SCHED_FLAG_RESET_ON_FORK | unix.SCHED_FLAG_KEEP_PARAMS, Nice: -1, Priority: 3},
		IOPriority: &IOPriority{3, 4}, Personality: ptr(uint32(8)), AppArmorProfile: "docker-default", SELinuxLabel: "u:r:t:s0",
	}
	if len(d) > 0 || len(warnings) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("defects %v, warnings %v\ngot  %+v\nwant %+v", d, warnings, got, want)
	}
	p.NoNewPrivileges = true
	if got, _ = Compile(p, s, e, &d); got.KeepSysAdmin || !got.NoNewPrivileges {
		t.Errorf("with noNewPrivileges: %+v", got)
	}
}

func TestCompileCapabilities(t *testing.T) {
	chown, kill, res := "CAP_CHOWN", "CAP_KILL", "CAP_SYS_RESOURCE"
	for _, tt := range []struct {
		name     string
		caps     *specs.LinuxCapabilities
		edit     func(e *Env)
		want     Capabilities
		warnings []string
	}{
		{"none", nil, nil, Capabilities{}, nil},
		{"exactly what is asked for, per set", &specs.LinuxCapabilities{
			Bounding: []string{chown}, Permitted: []string{kill, chown}, Effective: []string{kill}, Inheritable: []string{res}},
			nil, Capabilities{Bounding: bits(0), Permitted: bits(0, 5), Effective: bits(5), Inheritable: bits(24)}, nil},
		{"ambient", &specs.LinuxCapabilities{Permitted: []string{chown, kill}, Inheritable: []string{kill}, Ambient: []string{kill, chown}},
			nil, Capabilities{Permitted: bits(0, 5), Inheritable: bits(5), Ambient: bits(5)},
			[]string{"process.capabilities: can't raise ambient capability CAP_CHOWN: it is not both permitted and inheritable"}},
		{"the same of many, told in one line", &specs.LinuxCapabilities{Permitted: []string{chown, kill, res}, Effective: []string{"CAP_X"}, Ambient: []string{res, kill, chown}},
			nil, Capabilities{Permitted: bits(0, 5, 24)}, []string{
				"process.capabilities: CAP_X cannot be granted (effective): gourd does not know it",
				"process.capabilities: can't raise ambient capability CAP_CHOWN, CAP_KILL, CAP_SYS_RESOURCE: it is not both permitted and inheritable"}},
		{"effective is not permitted", &specs.LinuxCapabilities{Effective: []string{chown}}, nil, Capabilities{},
			[]string{"process.capabilities: CAP_CHOWN cannot be granted (effective): it is not permitted"}},
		{"unknown, told once", &specs.LinuxCapabilities{Bounding: []string{"CAP_X", chown, "CAP_X"}, Permitted: []string{"CAP_X"}, Effective: []string{"cap_chown"}},
			nil, Capabilities{Bounding: bits(0)}, []string{
				"process.capabilities: CAP_X cannot be granted (bounding, permitted): gourd does not know it",
				"process.capabilities: cap_chown cannot be granted (effective): gourd does not know it"}},
		{"an older kernel", &specs.LinuxCapabilities{Bounding: []string{"CAP_CHECKPOINT_RESTORE", chown}}, func(e *Env) { e.LastCap = 39 },
			Capabilities{Bounding: bits(0)}, []string{"process.capabilities: CAP_CHECKPOINT_RESTORE cannot be granted (bounding): this kernel does not have it"}},
		{"outside gourd's bounding set", &specs.LinuxCapabilities{Bounding: []string{res, chown}, Permitted: []string{res}, Effective: []string{res}, Inheritable: []string{res}, Ambient: []string{res}},
			func(e *Env) { e.Bounding &^= bits(24) }, Capabilities{Bounding: bits(0)},
			[]string{"process.capabilities: CAP_SYS_RESOURCE cannot be granted (bounding, permitted, inheritable, effective, ambient): it is not in the bounding set that gourd was started with"}},
		{"a user namespace has them all", &specs.LinuxCapabilities{Bounding: []string{res}},
			func(e *Env) { e.Bounding, e.NewUserNS = 0, true }, Capabilities{Bounding: bits(24)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := full()
			if tt.edit != nil {
				tt.edit(&e)
			}
			tt.want.LastCap = e.LastCap
			got, warnings := compileCapabilities(tt.caps, e)
			if got != tt.want || !slices.Equal(warnings, tt.warnings) {
				t.Errorf("got  %+v %q\nwant %+v %q", got, warnings, tt.want, tt.warnings)
			}
		})
	}
}

// What engines write compiles without a defect; on a host where gourd lacks a
// capability that they ask for, with a warning.
func TestCompileRealConfigs(t *testing.T) {
	files, err := filepath.Glob("../spec/testdata/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		must(t, err)
		s := new(specs.Spec)
		must(t, json.Unmarshal(raw, s))
		e := full()
		e.AppArmor, e.HasSeccomp = true, true
		e.Bounding &^= bits(unix.CAP_SETFCAP)
		var d defect.List
		p, warnings := Compile(s.Process, s, e, &d)
		if len(d) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0], "CAP_SETFCAP") {
			t.Errorf("%s: defects %v, warnings %q", f, d, warnings)
		}
		if p.Capabilities.Bounding == 0 || p.Capabilities.Effective&^p.Capabilities.Bounding != 0 {
			t.Errorf("%s: capabilities %+v", f, p.Capabilities)
		}
	}
}

func TestCapabilityNames(t *testing.T) {
	names := CapabilityNames()
	if len(names) != unix.CAP_LAST_CAP+1 || names[unix.CAP_SYS_ADMIN] != "CAP_SYS_ADMIN" || names[unix.CAP_LAST_CAP] != "CAP_CHECKPOINT_RESTORE" {
		t.Errorf("%d names: %v", len(names), names)
	}
}

func TestHomeIn(t *testing.T) {
	for _, tt := range []struct {
		name, passwd string
		uid          uint32
		want         string
	}{
		{"empty", "", 0, "/"},
		{"root", "root:x:0:0:root:/root:/bin/sh\n", 0, "/root"},
		{"no newline at the end", "root:x:0:0:root:/root:/bin/sh\na:x:7:7::/home/a:", 7, "/home/a"},
		{"the first of two", "a:x:7:7::/a:\nb:x:7:7::/b:\n", 7, "/a"},
		{"not there", "root:x:0:0:root:/root:/bin/sh\n", 1, "/"},
		{"the name is a number (CVE-2016-3697)", "1000:x:0:0::/root:/bin/sh\n", 1000, "/"},
		{"the uid is padded", "a:x:07:7::/a:\n", 7, "/"},
		{"the uid has a sign", "a:x:+7:7::/a:\n", 7, "/"},
		{"the uid wraps around", "a:x:4294967303:7::/a:\n", 7, "/"},
		{"too few fields", "a:x:7:7::/a\nb:x:7:7::/b:\n", 7, "/b"},
		{"too many fields", "a:x:7:7::/a::\n", 7, "/"},
		{"no home", "a:x:7:7:::\n", 7, "/"},
		{"a relative home", "a:x:7:7::home:\n", 7, "/"},
		{"NUL", "a:x:7:7::/h\x00:\n", 7, "/"},
		{"comments and blank lines", "# x\n\n+::::::\na:x:7:7::/a:\n", 7, "/a"},
		{"the largest", "a:x:4294967295:7::/a:\n", 4294967295, "/a"},
	} {
		if got := homeIn([]byte(tt.passwd), tt.uid); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestKeyPermissions(t *testing.T) {
	got, err := keyPermissions("keyring;0;0;3f030000;_ses.a;b")
	if err != nil || got != 0x3f030000 {
		t.Errorf("got %#x, %v", got, err)
	}
	for _, bad := range []string{"", "keyring;0;0", "keyring;0;0;zz;x", "keyring;0;0;13f030000;x"} {
		if _, err := keyPermissions(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzHome(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\n"), uint32(0))
	f.Fuzz(func(t *testing.T, passwd []byte, uid uint32) {
		if h := homeIn(passwd, uid); !strings.HasPrefix(h, "/") || strings.ContainsAny(h, "\x00\n:") {
			t.Errorf("home %q", h)
		}
	})
}
