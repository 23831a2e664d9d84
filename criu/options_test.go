package criu

import (
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
)

// none is a command line without a flag.
func none() Options { return Options{StatusFD: -1} }

func TestDump(t *testing.T) {
	o := Options{
		LeaveRunning: true, TCPEstablished: true, TCPSkipInFlight: true, LinkRemap: true, ExtUnixSk: true,
		ShellJob: true, FileLocks: true, AutoDedup: true, LazyPages: true, StatusFD: 7, ParentPath: "../before",
		PageServer: "[::1]:27", ManageCgroups: "strict", NetworkLock: "nftables", EmptyNS: []string{"network"},
	}
	req, err := o.Dump(&Dump{
		PID: 12, Root: "/rootfs", FreezeCgroup: "/sys/fs/cgroup/c", ConfigFile: "/etc/criu/x.conf",
		Mounts: []Mount{{"/a", "/b"}}, External: []string{"net[1]:key"},
	}, 5, 6)
	if err != nil {
		t.Fatal(err)
	}
	c := req.GetOpts()
	for name, ok := range map[string]bool{
		"type":          req.GetType() == rpc.CriuReqType_DUMP,
		"directories":   c.GetImagesDirFd() == 5 && c.GetWorkDirFd() == 6 && c.GetLogFile() == "dump.log",
		"process":       c.GetPid() == 12 && c.GetRoot() == "/rootfs" && c.GetFreezeCgroup() == "/sys/fs/cgroup/c",
		"leave-running": c.GetLeaveRunning(),
		"tcp":           c.GetTcpEstablished() && c.GetTcpSkipInFlight(),
		"link-remap":    c.GetLinkRemap(),
		"ext-unix-sk":   c.GetExtUnixSk(),
		"shell-job":     c.GetShellJob(),
		"file-locks":    c.GetFileLocks(),
		"auto-dedup":    c.GetAutoDedup(),
		"lazy-pages":    c.GetLazyPages(),
		"parent":        c.GetParentImg() == "../before" && c.GetTrackMem(),
		"page-server":   c.GetPs().GetAddress() == "::1" && c.GetPs().GetPort() == 27,
		"cgroups":       c.GetManageCgroupsMode() == rpc.CriuCgMode_STRICT,
		"network":       c.GetNetworkLock() == rpc.CriuNetworkLockMethod_NFTABLES && c.GetEmptyNs() == unix.CLONE_NEWNET,
		"config":        c.GetConfigFile() == "/etc/criu/x.conf",
		"mounts":        len(c.GetExtMnt()) == 1 && c.GetExtMnt()[0].GetKey() == "/a" && c.GetExtMnt()[0].GetVal() == "/b",
		"external":      len(c.GetExternal()) == 1,
		"terminal":      c.GetOrphanPtsMaster(),
	} {
		if !ok {
			t.Errorf("%s: %+v", name, c)
		}
	}
	o = none()
	o.PreDump = true
	if req, err = o.Dump(&Dump{PID: 12}, 5, -1); err != nil {
		t.Fatal(err)
	}
	if c = req.GetOpts(); req.GetType() != rpc.CriuReqType_PRE_DUMP || !c.GetTrackMem() || c.WorkDirFd != nil || c.NetworkLock != nil || c.ConfigFile != nil {
		t.Errorf("pre-dump: %s %+v", req.GetType(), c)
	}
}

func TestRestore(t *testing.T) {
	o := none()
	o.TCPClose, o.LSMProfile, o.LSMMountContext, o.ManageCgroups = true, "apparmor:x", "ctx", "ignore"
	req, err := o.Restore(&Restore{
		Root: "/r", Cgroup: "/new", Mounts: []Mount{{"/a", "/src"}},
		Inherit: []Inherit{{"pipe:[1]", 1}}, Join: []Join{{"uts", "/ns"}},
	}, 5, -1)
	if err != nil {
		t.Fatal(err)
	}
	c := req.GetOpts()
	for name, ok := range map[string]bool{
		"type":    req.GetType() == rpc.CriuReqType_RESTORE && c.GetLogFile() == "restore.log",
		"root":    c.GetRoot() == "/r" && c.GetRstSibling() && c.GetEvasiveDevices(),
		"cgroup":  len(c.GetCgRoot()) == 1 && c.GetCgRoot()[0].GetPath() == "/new" && c.GetManageCgroupsMode() == rpc.CriuCgMode_IGNORE,
		"lsm":     c.GetLsmProfile() == "apparmor:x" && c.GetLsmMountContext() == "ctx",
		"tcp":     c.GetTcpClose() && !c.GetTcpEstablished(),
		"inherit": len(c.GetInheritFd()) == 1 && c.GetInheritFd()[0].GetKey() == "pipe:[1]" && c.GetInheritFd()[0].GetFd() == 1,
		"join":    len(c.GetJoinNs()) == 1 && c.GetJoinNs()[0].GetNs() == "uts" && c.GetJoinNs()[0].GetNsFile() == "/ns",
	} {
		if !ok {
			t.Errorf("%s: %+v", name, c)
		}
	}
	// What is sent can be read again.
	data, err := req.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := new(rpc.CriuReq).UnmarshalVT(data); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		want string
		set  func(*Options)
	}{
		{"", func(*Options) {}},
		{"", func(o *Options) { o.EmptyNS = []string{"network", "network"} }},
		{"", func(o *Options) { o.StatusFD, o.LazyPages = 5, true }},
		{"--manage-cgroups-mode", func(o *Options) { o.ManageCgroups = "props" }},
		{"--network-lock", func(o *Options) { o.NetworkLock = "ebpf" }},
		{"--page-server", func(o *Options) { o.PageServer = "host" }},
		{"--page-server", func(o *Options) { o.PageServer = ":1" }},
		{"--page-server", func(o *Options) { o.PageServer = "host:0" }},
		{"--page-server", func(o *Options) { o.PageServer = "host:70000" }},
		{"--empty-ns", func(o *Options) { o.EmptyNS = []string{"ipc"} }},
		{"--parent-path", func(o *Options) { o.ParentPath = "/abs" }},
		{"--status-fd", func(o *Options) { o.StatusFD = 5 }},
	} {
		o := none()
		c.set(&o)
		err := o.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", o, err, c.want)
		}
	}
}
