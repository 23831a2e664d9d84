package criu

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
)

// Options is what the command line says of a checkpoint or a restore. What is
// of one of them only is zero for the other.
type Options struct {
	// ImagePath is the directory of the images, WorkPath that of CRIU's log
	// and statistics; "": the images'. ParentPath is the directory of the
	// images of an earlier pre-dump, relative to ImagePath; "": none.
	ImagePath, WorkPath, ParentPath string
	// LeaveRunning lets the processes go on after the dump, PreDump saves
	// their memory only.
	LeaveRunning, PreDump bool
	// TCPEstablished saves or brings back TCP connections, TCPSkipInFlight
	// leaves out those that are being made, TCPClose brings them back closed.
	TCPEstablished, TCPSkipInFlight, TCPClose bool
	// The others are CRIU's options of the same names.
	LinkRemap, ExtUnixSk, ShellJob, FileLocks, AutoDedup, LazyPages bool
	// StatusFD is the fd that receives a NUL byte when LazyPages' server is
	// ready; -1: none.
	StatusFD int
	// PageServer is the "ADDRESS:PORT" that the memory is sent to, or with
	// LazyPages asked for at; "": it goes to ImagePath.
	PageServer string
	// ManageCgroups is soft, full, strict or ignore; "": CRIU's default.
	ManageCgroups string
	// NetworkLock is iptables, nftables or skip; "": CRIU's default.
	NetworkLock string
	// EmptyNS are the types of namespaces that are made but not filled.
	EmptyNS []string
	// LSMProfile is "TYPE:NAME", LSMMountContext an SELinux context.
	LSMProfile, LSMMountContext string
}

// Mount is one entry of CRIU's list of mounts that are not the container's own.
// For a dump Key is the mountpoint and Value the name it gets in the image, for
// a restore Key is that name and Value what is bound there.
type Mount struct{ Key, Value string }

// A Dump is what is to be saved.
type Dump struct {
	PID          int
	Root         string // the host's path of the root filesystem
	FreezeCgroup string // the directory of the cgroup to freeze; "": CRIU stops the processes itself
	ConfigFile   string // "": none
	Mounts       []Mount
	External     []string // CRIU's --external
}

// A Restore is what is to be brought back.
type Restore struct {
	Root       string // the root filesystem: a mountpoint
	ConfigFile string // "": none
	Cgroup     string // where CRIU runs and the processes are to be; "": as in the image
	Mounts     []Mount
	Inherit    []Inherit
	Join       []Join
}

// Inherit is an open file of CRIU's that takes the place of one in the image.
type Inherit struct {
	Key string
	FD  int // as CRIU numbers it
}

// Join is an existing namespace to put the processes into.
type Join struct{ Type, Path string }

// logLevel has CRIU log all but what is for its own developers.
const logLevel = 4

// Dump returns the request for a dump. Its images and working directory are
// the caller's open fds; work -1: the images'.
func (o *Options) Dump(d *Dump, images, work int) (*rpc.CriuReq, error) {
	opts, err := o.common(images, work, d.ConfigFile)
	if err != nil {
		return nil, err
	}
	opts.LogFile = new(DumpLog)
	opts.Pid = new(int32(d.PID))
	opts.Root = new(d.Root)
	opts.LeaveRunning = &o.LeaveRunning
	opts.TcpSkipInFlight = &o.TCPSkipInFlight
	opts.LinkRemap = &o.LinkRemap
	if d.FreezeCgroup != "" {
		opts.FreezeCgroup = new(d.FreezeCgroup)
	}
	if o.ParentPath != "" {
		opts.ParentImg = new(o.ParentPath)
		opts.TrackMem = new(true)
	}
	if o.PreDump {
		opts.TrackMem = new(true)
	}
	if opts.Ps, err = pageServer(o.PageServer); err != nil {
		return nil, err
	}
	opts.ExtMnt = extMounts(d.Mounts)
	opts.External = d.External
	t := rpc.CriuReqType_DUMP
	if o.PreDump {
		t = rpc.CriuReqType_PRE_DUMP
	}
	return &rpc.CriuReq{Type: &t, Opts: opts}, nil
}

// Restore returns the request for a restore.
func (o *Options) Restore(r *Restore, images, work int) (*rpc.CriuReq, error) {
	opts, err := o.common(images, work, r.ConfigFile)
	if err != nil {
		return nil, err
	}
	opts.LogFile = new(RestoreLog)
	opts.Root = new(r.Root)
	opts.RstSibling = new(true) // init becomes a child of gourd's, not of CRIU's
	opts.EvasiveDevices = new(true)
	opts.TcpClose = &o.TCPClose
	if o.LSMProfile != "" {
		opts.LsmProfile = new(o.LSMProfile)
	}
	if o.LSMMountContext != "" {
		opts.LsmMountContext = new(o.LSMMountContext)
	}
	if r.Cgroup != "" {
		// cgroup v2 has no name of a controller.
		opts.CgRoot = []*rpc.CgroupRoot{{Ctrl: new(""), Path: new(r.Cgroup)}}
	}
	opts.ExtMnt = extMounts(r.Mounts)
	for _, in := range r.Inherit {
		opts.InheritFd = append(opts.InheritFd, &rpc.InheritFd{Key: new(in.Key), Fd: new(int32(in.FD))})
	}
	for _, j := range r.Join {
		opts.JoinNs = append(opts.JoinNs, &rpc.JoinNamespace{Ns: new(j.Type), NsFile: new(j.Path)})
	}
	t := rpc.CriuReqType_RESTORE
	return &rpc.CriuReq{Type: &t, Opts: opts}, nil
}

// Names of CRIU's logs in the working directory; other runtimes' are the same.
const (
	DumpLog    = "dump.log"
	RestoreLog = "restore.log"
)

// common returns the options that both requests have.
func (o *Options) common(images, work int, config string) (*rpc.CriuOpts, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	mode, err := cgroupsMode(o.ManageCgroups)
	if err != nil {
		return nil, err
	}
	opts := &rpc.CriuOpts{
		ImagesDirFd:       new(int32(images)),
		LogLevel:          new(int32(logLevel)),
		NotifyScripts:     new(true),
		OrphanPtsMaster:   new(true), // a terminal's master comes as a notification
		ManageCgroups:     new(true), // what the mode was called before there were modes
		ManageCgroupsMode: &mode,
		TcpEstablished:    &o.TCPEstablished,
		ExtUnixSk:         &o.ExtUnixSk,
		ShellJob:          &o.ShellJob,
		FileLocks:         &o.FileLocks,
		AutoDedup:         &o.AutoDedup,
		LazyPages:         &o.LazyPages,
		// The network is the engine's: it fills a new namespace, by a hook
		// or over the namespace's path. --empty-ns network asks for no more.
		EmptyNs: new(uint32(unix.CLONE_NEWNET)),
	}
	if work >= 0 {
		opts.WorkDirFd = new(int32(work))
	}
	if config != "" {
		opts.ConfigFile = new(config)
	}
	if o.NetworkLock != "" {
		method, err := networkLock(o.NetworkLock)
		if err != nil {
			return nil, err
		}
		opts.NetworkLock = &method
	}
	return opts, nil
}

// Check tells what is wrong with the options in themselves.
func (o *Options) Check() error {
	if _, err := cgroupsMode(o.ManageCgroups); err != nil {
		return err
	}
	if o.NetworkLock != "" {
		if _, err := networkLock(o.NetworkLock); err != nil {
			return err
		}
	}
	if _, err := pageServer(o.PageServer); err != nil {
		return err
	}
	for _, ns := range o.EmptyNS {
		if ns != "network" {
			return fmt.Errorf("--empty-ns %q: CRIU can leave empty only network", ns)
		}
	}
	if filepath.IsAbs(o.ParentPath) {
		return fmt.Errorf("--parent-path %s must be relative to --image-path", o.ParentPath)
	}
	if o.StatusFD >= 0 && !o.LazyPages {
		return fmt.Errorf("--status-fd %d tells when the server of --lazy-pages is ready, which is not given", o.StatusFD)
	}
	return nil
}

func cgroupsMode(s string) (rpc.CriuCgMode, error) {
	switch s {
	case "":
		return rpc.CriuCgMode_DEFAULT, nil
	case "soft":
		return rpc.CriuCgMode_SOFT, nil
	case "full":
		return rpc.CriuCgMode_FULL, nil
	case "strict":
		return rpc.CriuCgMode_STRICT, nil
	case "ignore":
		return rpc.CriuCgMode_IGNORE, nil
	}
	return 0, fmt.Errorf("--manage-cgroups-mode %q is none of soft, full, strict, ignore", s)
}

func networkLock(s string) (rpc.CriuNetworkLockMethod, error) {
	switch s {
	case "iptables":
		return rpc.CriuNetworkLockMethod_IPTABLES, nil
	case "nftables":
		return rpc.CriuNetworkLockMethod_NFTABLES, nil
	case "skip":
		return rpc.CriuNetworkLockMethod_SKIP, nil
	}
	return 0, fmt.Errorf("--network-lock %q is none of iptables, nftables, skip", s)
}

func pageServer(s string) (*rpc.CriuPageServerInfo, error) {
	if s == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("--page-server %q is not ADDRESS:PORT", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("--page-server %q: %q is not a port", s, port)
	}
	return &rpc.CriuPageServerInfo{Address: &host, Port: new(int32(n))}, nil
}

func extMounts(list []Mount) []*rpc.ExtMountMap {
	out := make([]*rpc.ExtMountMap, len(list))
	for i := range list {
		out[i] = &rpc.ExtMountMap{Key: &list[i].Key, Val: &list[i].Value}
	}
	return out
}
