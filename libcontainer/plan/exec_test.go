package plan

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

func newForExec() ForExec {
	score, umask := 5, uint32(0o77)
	return ForExec{
		ID: "web",
		Process: specs.Process{
			Args: []string{"init"}, Cwd: "/", Env: []string{"PATH=/bin", "T=a\nb"},
			User:            specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}, Umask: &umask},
			Capabilities:    &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}, Inheritable: []string{}},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1, Hard: 1<<64 - 1}},
			OOMScoreAdj:     &score,
			Scheduler:       &specs.Scheduler{Policy: specs.SchedBatch, Nice: 1},
			IOPriority:      &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 3},
			ExecCPUAffinity: &specs.CPUAffinity{Initial: "0", Final: "0-1"},
		},
		Namespaces:   unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUSER,
		NewUserNS:    true,
		UIDMappings:  []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 100}},
		GIDMappings:  []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 100}},
		Personality:  &specs.LinuxPersonality{Domain: specs.PerLinux32},
		MemoryPolicy: &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0-1", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}},
		Seccomp: &seccomp.Program{Flags: 2, Filter: []seccomp.Instruction{
			{Code: 0x20, Jt: 1, Jf: 2, K: 0x0a0a0a0a}, {Code: 0x06, K: 0x7fff0000},
		}},
		Checkpoint: ForCheckpoint{
			External: rootfs.External{Binds: []string{"/etc/hosts"}, Masked: []string{"/proc/kcore"}, Devices: []string{"/dev/fuse"}},
			Joined:   []Joined{{"net", "/run/netns/a"}},
			Stdio:    []string{"pipe:[7]", "", "pipe:[8]"},
		},
	}
}

func TestHostUID(t *testing.T) {
	e := Enter{UIDMaps: []nsenter.IDMap{{Inside: 0, Outside: 1000, Size: 1}, {Inside: 10, Outside: 2000, Size: 5}}}
	for inside, want := range map[uint32]int{0: 1000, 1: 1, 9: 9, 10: 2000, 14: 2004, 15: 15} {
		if got := e.HostUID(inside); got != want {
			t.Errorf("%d: %d, want %d", inside, got, want)
		}
	}
}

func TestForExecIsReadAsItWasWritten(t *testing.T) {
	want := newForExec()
	plain := want
	plain.Seccomp = nil
	for _, k := range []ForExec{want, plain, {}} {
		data, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var got ForExec
		if err := got.Unmarshal(data); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Seccomp, k.Seccomp) {
			t.Errorf("the filter is %+v, was %+v", got.Seccomp, k.Seccomp)
		}
		got.Seccomp, k.Seccomp = nil, nil
		if !reflect.DeepEqual(got, k) {
			t.Errorf("got  %+v\nwant %+v", got, k)
		}
	}
}

func TestForExecOfAnotherVersionCanBeRead(t *testing.T) {
	var k ForExec
	if err := k.Unmarshal([]byte(`{"ID": "web", "LaterAddition": {"a": [1]}}` + "\n")); err != nil || k.ID != "web" {
		t.Errorf("got %+v, %v", k, err)
	}
}

func TestForExecRefusesWhatIsCutOff(t *testing.T) {
	full := newForExec()
	data, err := full.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, []byte("{}"), data[:len(data)-1], data[:strings.IndexByte(string(data), '\n')+1], []byte("{}\n12345678")} {
		var k ForExec
		if err := k.Unmarshal(bad); err == nil {
			t.Errorf("%d bytes of %d were accepted", len(bad), len(data))
		}
	}
}

func execFacts() *host.Facts {
	return &host.Facts{InitialUserNS: true, Bounding: 1<<41 - 1, LastCap: 40}
}

func TestBuildExecTakesTheContainersOwnForWhatIsUnset(t *testing.T) {
	k := newForExec()
	p, err := k.BuildExec(&specs.Process{Args: []string{"a"}, Cwd: "/"}, execFacts(), ExecOptions{PreserveFDs: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := p.Exec.Credentials
	if c.Capabilities.Bounding != 1<<unix.CAP_KILL || len(c.Rlimits) != 1 || *c.OOMScoreAdj != 5 ||
		c.Scheduler == nil || c.IOPriority == nil || c.Personality == nil || c.MemoryPolicy == nil {
		t.Errorf("credentials are %+v", c)
	}
	// But not for who it is, where, and with what environment.
	if c.UID != 0 || c.GID != 0 || len(c.Groups) != 0 || len(c.Env) != 0 || c.Umask != 0o22 {
		t.Errorf("credentials are %+v", c)
	}
	if p.Namespaces != unix.CLONE_NEWPID|unix.CLONE_NEWUSER {
		t.Errorf("namespaces to join: %#x", p.Namespaces)
	}
	if !c.KeepSysAdmin || p.Exec.Seccomp != k.Seccomp || p.Exec.PreserveFDs != 2 || c.Keyring != "_ses.web" || !c.UserNS {
		t.Errorf("plan is %+v", p.Exec)
	}
	if !p.InitialCPUs.IsSet(0) || p.InitialCPUs.Count() != 1 || p.Exec.CPUs.Count() != 2 {
		t.Errorf("CPUs: %v, then %v", p.InitialCPUs, p.Exec.CPUs)
	}
}

func TestBuildExecPrefersTheProcess(t *testing.T) {
	k := newForExec()
	score := -3
	p, err := k.BuildExec(&specs.Process{
		Args: []string{"a"}, Cwd: "/", User: specs.User{UID: 7, GID: 8}, OOMScoreAdj: &score,
		Capabilities:    &specs.LinuxCapabilities{},
		Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_CPU"}},
		ExecCPUAffinity: &specs.CPUAffinity{Initial: "3"},
	}, execFacts(), ExecOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := p.Exec.Credentials
	if c.UID != 7 || c.GID != 8 || *c.OOMScoreAdj != -3 || c.Capabilities.Bounding != 0 || c.Rlimits[0].Resource != unix.RLIMIT_CPU {
		t.Errorf("credentials are %+v", c)
	}
	if !p.InitialCPUs.IsSet(3) || p.Exec.CPUs != nil {
		t.Errorf("CPUs: %v, then %v", p.InitialCPUs, p.Exec.CPUs)
	}
}

func TestBuildExecFindsEveryDefect(t *testing.T) {
	k := newForExec()
	_, err := k.BuildExec(&specs.Process{
		Cwd: "relative", User: specs.User{UID: 100}, ExecCPUAffinity: &specs.CPUAffinity{Initial: "x", Final: "2-1"},
	}, execFacts(), ExecOptions{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"process.args", "process.cwd", "process.user.uid", "process.execCPUAffinity.initial", "process.execCPUAffinity.final",
	} {
		if !strings.Contains(err.Error(), want+":") {
			t.Errorf("no %s in: %v", want, err)
		}
	}
}

// TestExecCanBeSent holds that the plan is plain data.
func TestExecCanBeSent(t *testing.T) {
	k := newForExec()
	p, err := k.BuildExec(&k.Process, execFacts(), ExecOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := protocol.Marshal(&p.Exec)
	if err != nil {
		t.Fatal(err)
	}
	var got Exec
	if err := protocol.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, p.Exec) {
		t.Errorf("got  %+v\nwant %+v", got, p.Exec)
	}
}
