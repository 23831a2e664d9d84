// Package plan compiles a bundle and the facts about the host into everything
// that gourd is going to do, as plain data. It has no effects: a plan can be
// built, printed and tested without root. Doing it is the work of
// libcontainer, nsenter, cgroups and, inside the container, initproc.
package plan

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sort"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/landlock"
	"github.com/gourd-oci/gourd/libcontainer/netdevices"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/resctrl"
	"github.com/gourd-oci/gourd/seccomp"
)

// Options is what the command line adds to the bundle.
type Options struct {
	// ID is the container's id, already checked.
	ID string
	// NoPivot is --no-pivot, NoNewKeyring is --no-new-keyring.
	NoPivot, NoNewKeyring bool
	// CgroupManager is "cgroupfs", "systemd" or "disabled".
	CgroupManager string
	// CgroupRoot and CgroupOwn are where cgroup2 is mounted and gourd's own
	// cgroup in it, as cgroups.Find tells; both are empty without cgroup2.
	CgroupRoot, CgroupOwn string
	// Resctrl is where resctrl is mounted; looked for only if the config asks for
	// it.
	Resctrl string
	// PreserveFDs is how many fds from 3 on the process inherits.
	PreserveFDs int
	// ListenFDs is whether LISTEN_FDS is among the preserved ones: then the
	// process, which is pid 1 to itself, gets LISTEN_PID=1 (sd_listen_fds(3)).
	ListenFDs int
	// HostNamespaces are those, as CLONE_ flags, that the config joins by path
	// and that gourd is in itself.
	HostNamespaces uintptr
	// Rootless is --rootless, as the command line decided it.
	Rootless bool
	// Strict is --strict: what is ignored is a defect.
	Strict bool
	// Waits is whether init is left at the gate, for as long as it takes until
	// somebody starts the container.
	Waits bool
}

// Plan is all that gourd will do for a container.
type Plan struct {
	Enter    Enter
	Cgroup   cgroups.Plan
	Resctrl  *resctrl.Plan `json:",omitempty"` // nil without linux.intelRdt
	Hooks    hooks.Plan
	Init     Init
	Devices  []netdevices.Device // of the network, to be moved in
	ForExec  ForExec             `json:"-"` // of the config, most of it: not worth printing again
	State    State
	Rootfs   string   // absolute path of the root filesystem
	Terminal bool     // the process has a pseudo-terminal
	Warnings []string // what the config asks for and does not get, by the spec

	// Resources is linux.resources, for a later update; nil if there is none.
	Resources *specs.LinuxResources `json:"-"`
}

// Enter is the namespaces that init is born into.
type Enter struct {
	New  uintptr // CLONE_NEW* flags of the namespaces to make
	Join []Join  // the ones to join
	// UIDMaps and GIDMaps are those of a new user namespace. Of one to join
	// they are what the config says that it has, if it says so.
	UIDMaps []nsenter.IDMap
	GIDMaps []nsenter.IDMap
	// DenySetgroups is what the kernel wants of who is not privileged over the
	// parent user namespace before a gid_map (user_namespaces(7)).
	DenySetgroups bool
	// MapHelpers is whether newuidmap(1) and newgidmap(1) write the maps: those
	// of an ordinary user that have more than the own id.
	MapHelpers bool
	Offsets    []nsenter.Offset // of a new time namespace
	// ListenerPath is the socket of the seccomp agent; empty without one.
	ListenerPath string
}

// Join is an existing namespace and the file that stands for it.
type Join struct {
	Flag uintptr // CLONE_NEW*
	Path string
	From string // JSON path
}

// Joins returns the joined namespace of a type, or nil.
func (e *Enter) Joins(flag uintptr) *Join {
	for i := range e.Join {
		if e.Join[i].Flag == flag {
			return &e.Join[i]
		}
	}
	return nil
}

// MountPath returns the path of the joined mount namespace, or "".
func (e *Enter) MountPath() string {
	if j := e.Joins(unix.CLONE_NEWNS); j != nil {
		return j.Path
	}
	return ""
}

// Joined returns the joined namespaces by the kernel's names of their types.
func (e *Enter) Joined() []Joined {
	var list []Joined
	for i := range e.Join {
		list = append(list, Joined{KernelName(e.Join[i].Flag), e.Join[i].Path})
	}
	return list
}

// HostUID returns what gourd calls the container's uid; that itself where no
// user namespace is made, or where it is not mapped.
func (e *Enter) HostUID(uid uint32) int {
	for _, m := range e.UIDMaps {
		if uid-m.Inside < m.Size && uid >= m.Inside {
			return int(m.Outside + uid - m.Inside)
		}
	}
	return int(uid)
}

// Private is whether the container has a namespace of this type other than
// gourd's, as far as the config tells: a joined one counts.
func (e *Enter) Private(flag uintptr) bool { return e.New&flag != 0 || e.Joins(flag) != nil }

// Init is what init gets to know and to do: plain data that protocol sends.
type Init struct {
	State         State
	RootfsPath    string // on the host, absolute
	Rootfs        rootfs.Plan
	Credentials   credentials.Plan
	Hostname      string
	Domainname    string
	LoopbackUp    bool // a new network namespace: its lo is down
	HookSync      bool // hooks come when the mounts are made: say Mounted, wait for HooksDone
	CreateHooks   []hooks.Hook
	StartHooks    []hooks.Hook
	Terminal      bool
	ConsoleHeight uint
	ConsoleWidth  uint
	PreserveFDs   int
	Seccomp       *seccomp.Program
	Landlock      *landlock.Plan
	JoinMountNS   bool
	UserNS        bool // a user namespace of its own, made or joined
	Waits         bool // at the gate, for who knows how long
	TellAtGate    bool // say AtGate: create is traced
	FewTasks      bool // the pids limit leaves Go no room for another thread
	// AgentMessage goes to the seccomp agent, whose socket comes with the plan,
	// with the filter's listener. It has init's pid in it, and so is made when
	// there is an init. Nil without an agent.
	AgentMessage []byte
}

// goTasks is a number of tasks below which a Go program may not get by: init has
// five threads or six, and its neighbours are tasks, too.
const goTasks = 32

// State is the container state that hooks get (runtime.md, "State").
type State struct {
	OCIVersion  string
	ID          string
	Bundle      string
	Annotations []Annotation
}

// Annotation is one of config.json's annotations; a slice of them is sorted.
type Annotation struct{ Key, Value string }

// Document returns the state document with this status and pid.
func (s *State) Document(status specs.ContainerState, pid int) *specs.State {
	doc := &specs.State{Version: s.OCIVersion, ID: s.ID, Status: status, Pid: pid, Bundle: s.Bundle}
	if len(s.Annotations) > 0 {
		doc.Annotations = make(map[string]string, len(s.Annotations))
		for _, a := range s.Annotations {
			doc.Annotations[a.Key] = a.Value
		}
	}
	return doc
}

// JSON returns the text of Document.
func (s *State) JSON(status specs.ContainerState, pid int) []byte {
	b, err := json.Marshal(s.Document(status, pid))
	if err != nil {
		panic("marshal strings and an int: " + err.Error()) // cannot fail
	}
	return b
}

// checkHostNames checks that the names are set in no namespace that is the
// host's, by whatever path it is joined.
func checkHostNames(s *specs.Spec, host uintptr, d *defect.List) {
	if host&unix.CLONE_NEWUTS == 0 {
		return
	}
	const problem = "%q would be the host's: the uts namespace that linux.namespaces joins is its own"
	if s.Hostname != "" {
		d.Add("hostname", problem, s.Hostname)
	}
	if s.Domainname != "" {
		d.Add("domainname", problem, s.Domainname)
	}
}

// Build returns the plan for a bundle on this host. Its error is a
// *defect.Error that holds every defect of the config.
func Build(b *spec.Bundle, facts *host.Facts, o Options) (*Plan, error) {
	defer trace.Begin("compile the config").End()
	var d defect.List
	s := b.Spec
	spec.Check(s, &d)
	spec.CheckRoot(b, &d)
	o.Strict = strict(s.Annotations, &d) || o.Strict
	if o.Strict {
		checkStrict(b, &d)
	}
	checkHostNames(s, o.HostNamespaces, &d)
	if s.Linux == nil {
		s.Linux = &specs.Linux{}
	}
	if s.Process == nil || s.Root == nil {
		return nil, d.Err() // Check said so; nothing below makes sense without
	}

	p := &Plan{Rootfs: b.RootPath(), Terminal: s.Process.Terminal}
	p.State = State{OCIVersion: s.Version, ID: o.ID, Bundle: b.Dir, Annotations: Annotations(s.Annotations)}
	p.Enter = compileEnter(s, facts, &d)
	p.Hooks = hooks.Compile(s.Hooks, &d)
	p.Devices = netdevices.Compile(s.Linux.NetDevices, netdevices.Env{
		Network:  p.Enter.Private(unix.CLONE_NEWNET),
		Host:     o.HostNamespaces&unix.CLONE_NEWNET != 0,
		Rootless: o.Rootless || facts.EUID != 0,
	}, &d)
	newUser := p.Enter.New&unix.CLONE_NEWUSER != 0
	p.Cgroup = cgroups.Compile(s.Linux.Resources, cgroups.Env{
		Root:        o.CgroupRoot,
		Own:         o.CgroupOwn,
		ID:          o.ID,
		CgroupsPath: s.Linux.CgroupsPath,
		Rootless:    o.Rootless,
		CanMknod:    canMknod(s.Process.Capabilities, &p.Enter, facts),
		Strict:      o.Strict,
		Systemd:     o.CgroupManager == "systemd",
		Disabled:    o.CgroupManager == "disabled",
		Owner:       cgroups.OwnerUID(s),
		Annotations: s.Annotations,
	}, &d)
	p.Warnings = append(p.Warnings, p.Cgroup.Warnings...)
	p.Resources = s.Linux.Resources
	if p.Resctrl = resctrl.Compile(s.Linux.IntelRdt, resctrl.Env{Root: o.Resctrl, ID: o.ID}, &d); p.Resctrl != nil {
		p.Warnings = append(p.Warnings, b.OutdatedRDT()...)
	}

	in := &p.Init
	in.RootfsPath = p.Rootfs
	in.Hostname, in.Domainname = s.Hostname, s.Domainname
	in.LoopbackUp = p.Enter.New&unix.CLONE_NEWNET != 0
	in.HookSync = len(p.Hooks.CreateRuntime) > 0 || len(p.Hooks.CreateContainer) > 0 ||
		len(p.Hooks.Prestart) > 0 && !spec.PrestartInStart(s.Version)
	in.CreateHooks, in.StartHooks = p.Hooks.CreateContainer, p.Hooks.StartContainer
	if len(in.CreateHooks) > 0 || len(in.StartHooks) > 0 {
		in.State = p.State
	}
	in.Terminal = s.Process.Terminal
	if size := s.Process.ConsoleSize; size != nil && s.Process.Terminal {
		in.ConsoleHeight, in.ConsoleWidth = size.Height, size.Width
	}
	in.PreserveFDs, in.Waits = o.PreserveFDs, o.Waits
	in.FewTasks = uint(p.Cgroup.Tasks()) < goTasks
	in.UserNS = p.Enter.Private(unix.CLONE_NEWUSER)
	in.JoinMountNS = p.Enter.Joins(unix.CLONE_NEWNS) != nil
	in.Rootfs = rootfs.Compile(s, rootfs.Env{
		Bundle:         b.Dir,
		Rootfs:         b.RootPath(),
		NoPivot:        o.NoPivot,
		NewUserNS:      newUser || p.Enter.Joins(unix.CLONE_NEWUSER) != nil,
		HostUserNS:     facts.InitialUserNS,
		SELinux:        facts.SELinux,
		UnknownLabels:  facts.UnknownContexts,
		Unprivileged:   facts.EUID != 0,
		ForeignNetwork: p.Enter.Private(unix.CLONE_NEWUSER) && p.Enter.New&unix.CLONE_NEWNET == 0,
		NewCgroupNS:    p.Enter.Private(unix.CLONE_NEWCGROUP),
		CgroupDir:      cgroupDir(&p.Cgroup),
		HostNamespaces: o.HostNamespaces,
		HostMounts:     !p.Enter.Private(unix.CLONE_NEWNS),
	}, &d)
	if o.Strict {
		in.Rootfs.Unused(s, &d)
	}
	p.Warnings, in.Rootfs.Warnings = append(p.Warnings, in.Rootfs.Warnings...), nil
	var warnings []string
	if s.Linux.Seccomp != nil {
		in.Seccomp, warnings = seccomp.Compile(s.Linux.Seccomp, seccomp.Env{Strict: o.Strict}, &d)
		p.Warnings = append(p.Warnings, warnings...)
		if in.Seccomp != nil && in.Seccomp.KillsThread(unix.SYS_EXECVE) {
			d.Add("linux.seccomp", "the profile kills who calls execve, so that no program could be started under it: allow execve")
		}
		if in.Seccomp != nil {
			p.Enter.ListenerPath = in.Seccomp.ListenerPath
		}
	}
	in.Landlock = compileLandlock(s.Annotations, facts.Landlock, &d)
	in.Credentials, warnings = credentials.Compile(s.Process, s, credentials.Env{
		Bounding:        facts.Bounding,
		LastCap:         facts.LastCap,
		AppArmor:        facts.AppArmor,
		SELinux:         facts.SELinux,
		UnknownLabels:   facts.UnknownContexts,
		NewUserNS:       newUser,
		SetgroupsDenied: p.Enter.noSetgroups(facts),
		JoinedUserNS:    p.Enter.Joins(unix.CLONE_NEWUSER) != nil,
		Root:            facts.EUID == 0,
		HasSeccomp:      in.Seccomp != nil,
		Landlock:        landlockFrom(in.Landlock),
		ID:              o.ID,
		NoNewKeyring:    o.NoNewKeyring,
	}, &d)
	p.Warnings = append(p.Warnings, warnings...)
	if o.ListenFDs > 0 {
		in.Credentials.Env = append(in.Credentials.Env, fmt.Sprintf("LISTEN_FDS=%d", o.ListenFDs), "LISTEN_PID=1")
	}
	if o.Strict {
		refuse(p.Warnings, &d)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	p.ForExec = forExec(s, &p.Enter, in, &o)
	return p, nil
}

// canMknod is whether a process of the container could ever make a device node:
// with CAP_MKNOD in its bounding set, and in the initial user namespace
// (mknod(2)).
func canMknod(c *specs.LinuxCapabilities, e *Enter, facts *host.Facts) bool {
	return c != nil && slices.Contains(c.Bounding, "CAP_MKNOD") && facts.Bounding&(1<<unix.CAP_MKNOD) != 0 &&
		facts.InitialUserNS && !e.Private(unix.CLONE_NEWUSER)
}

// cgroupDir is where the host finds the container's cgroup, for a container
// without a cgroup namespace; "" if it has none.
func cgroupDir(p *cgroups.Plan) string {
	switch p.Manager {
	case cgroups.ManagerFS:
		return filepath.Join(p.Root, p.Path)
	case cgroups.ManagerSystemd:
		return rootfs.LaterCgroup
	}
	return ""
}

// Annotations returns m ordered by its keys.
func Annotations(m map[string]string) []Annotation {
	if len(m) == 0 {
		return nil
	}
	list := make([]Annotation, 0, len(m))
	for k, v := range m {
		list = append(list, Annotation{k, v})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list
}
