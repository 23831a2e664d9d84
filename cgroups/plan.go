package cgroups

import (
	"strconv"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The managers that a Plan and a Record name.
const (
	ManagerFS      = "fs"      // gourd makes the directory itself
	ManagerSystemd = "systemd" // systemd makes a scope around the container
	ManagerNone    = "none"    // the container has no cgroup of its own
)

// Env is what Compile has to know beside linux.resources.
type Env struct {
	// Root is the cgroup2 mount point and Own gourd's own cgroup in it, as
	// Find tells them. An empty Root means that there is no cgroup v2.
	Root, Own string
	// ID is the container's id.
	ID string
	// CgroupsPath is linux.cgroupsPath.
	CgroupsPath string
	// Rootless is set when gourd has no privileges over the host: then a cgroup
	// that was not asked for and may not be made is gone without, and so is a
	// device program that the kernel does not take from the unprivileged.
	Rootless bool
	// CanMknod is whether the container's processes could make device nodes: then
	// also a rootless container must have its device rules.
	CanMknod bool
	// Strict makes a defect of each property that is valid and has no effect,
	// and an error of a device program that the kernel does not take.
	Strict bool
	// Systemd chooses the systemd manager, Disabled chooses none at all.
	Systemd, Disabled bool
	// Owner is the host uid that the cgroup is handed over to, as OwnerUID
	// tells it; 0 and -1 leave it with gourd's own uid.
	Owner int
	// Annotations are the config's; the systemd manager takes properties of the
	// scope from those named org.systemd.property.*.
	Annotations map[string]string
}

// Plan says all that is done to a container's cgroup. It is plain data.
type Plan struct {
	Manager string
	Root    string // the cgroup2 mount point
	Path    string // the cgroup, absolute below Root; the systemd manager learns it later
	For     string // whom the directories are marked as made for, see RemoveHalfMade
	// Required is false where the container can also do without a cgroup:
	// rootless, no cgroupsPath and no limit.
	Required bool
	Rootless bool
	// DevicesRequired is whether also a rootless container cannot do without
	// its device rules.
	DevicesRequired bool
	// DevicesGiven is whether the config has device rules of its own.
	DevicesGiven bool
	Owner        int // the uid that gets the cgroup, 0 for none
	Writes       []Write
	Late         []Write // what could stop init's own set-up: pids, cpu, cpuset
	Devices      Devices
	// CheckMemory is memory.checkBeforeUpdate: MemoryLimit, of memory alone, and
	// MemorySwapLimit, of memory and swap together, are refused when the cgroup
	// already uses as much. In bytes, 0 or less when there is no limit.
	CheckMemory                  bool
	MemoryLimit, MemorySwapLimit int64
	// MemoryFrom, MemorySwapFrom and DevicesFrom are the JSON paths that ask for
	// these and for Devices.
	MemoryFrom, MemorySwapFrom, DevicesFrom string
	Scope                                   Scope // for the systemd manager
	Warnings                                []string
}

// Write is one value for one file of the cgroup.
type Write struct {
	Controller string // the controller that has File; "" for the core files
	File       string
	Value      string
	From       string // the JSON path that asks for it
	// Optional is set when nothing is lost where File does not exist: Value is
	// what the kernel does anyway.
	Optional bool
	// Else is written instead where File does not exist.
	Else *Write
}

// Compile turns r and e into a Plan. Everything that is wrong with them goes
// into d, each with its JSON path.
func Compile(r *specs.LinuxResources, e Env, d *defect.List) Plan {
	p := Plan{Manager: ManagerFS, Root: e.Root, Rootless: e.Rootless, Owner: max(e.Owner, 0), DevicesFrom: devicesFrom}
	if r == nil {
		r = &specs.LinuxResources{}
	}
	compileResources(r, &p, d)
	p.Devices = compileDevices(r.Devices, d)
	p.DevicesGiven, p.DevicesRequired = len(r.Devices) > 0, e.CanMknod
	p.Required = e.CgroupsPath != "" || !e.Rootless || (e.Strict || e.CanMknod) && p.DevicesGiven || requires(p.Writes) || requires(p.Late)

	switch {
	case e.Disabled:
		p.Manager = ManagerNone
		refuseLimits(&p, d, "cgroups are disabled on gourd's command line")
	case e.Root == "" && !p.Required:
		p.Manager = ManagerNone
	case e.Root == "":
		d.Add("linux.cgroupsPath", "no cgroup v2 hierarchy is mounted on this host (mount one: mount -t cgroup2 none /sys/fs/cgroup, or beside v1 mkdir /sys/fs/cgroup/unified and mount it there), and gourd does not use cgroup v1")
	case e.Systemd:
		p.Manager = ManagerSystemd
		p.Scope = compileScope(&e, d)
		p.Scope.Properties, p.Scope.Late = properties(p.Writes, d), properties(p.Late, d)
	default:
		p.Path = compilePath(&e, d)
	}
	if e.Strict {
		Unused(r, d)
		p.unusedIn(r, &e, d)
		p.DevicesRequired = p.DevicesRequired || p.DevicesGiven
	}
	return p
}

// compileResources fills in all that linux.resources says beside its devices.
func compileResources(r *specs.LinuxResources, p *Plan, d *defect.List) {
	p.Writes = append(p.Writes, compileMemory(r.Memory, d)...)
	if m := r.Memory; m != nil && m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate {
		p.CheckMemory, p.MemoryLimit, p.MemorySwapLimit = true, value(m.Limit), value(m.Swap)
		p.MemoryFrom, p.MemorySwapFrom = "linux.resources.memory.limit", "linux.resources.memory.swap"
	}
	p.Writes = append(p.Writes, compileIO(r.BlockIO, d)...)
	p.Writes = append(p.Writes, compileHugetlb(r.HugepageLimits, d)...)
	p.Writes = append(p.Writes, compileRDMA(r.Rdma, d)...)
	refuseNetwork(r.Network, d)
	p.Late = append(p.Late, compileCPU(r.CPU, d)...)
	p.Late = append(p.Late, compileCpuset(r.CPU, d)...)
	p.Late = append(p.Late, compilePids(r.Pids)...)
	early, late := compileUnified(r.Unified, d)
	p.Writes = append(p.Writes, early...) // after the rest: unified has the last word
	p.Late = append(p.Late, late...)
}

// Tasks returns how many tasks the plan leaves the cgroup, -1 for no limit. What
// is written last counts, as for the kernel.
func (p *Plan) Tasks() int {
	for i := len(p.Late) - 1; i >= 0; i-- {
		if w := &p.Late[i]; w.File == "pids.max" {
			if n, err := strconv.Atoi(w.Value); err == nil {
				return n
			}
			return -1 // "max", or more than there can be
		}
	}
	return -1
}

// requires tells whether ws has a value that cannot be left out.
func requires(ws []Write) bool {
	for i := range ws {
		if !ws[i].Optional {
			return true
		}
	}
	return false
}

// refuseLimits adds a defect for every value that would have to be written.
func refuseLimits(p *Plan, d *defect.List, why string) {
	for _, ws := range [...][]Write{p.Writes, p.Late} {
		for i := range ws {
			if !ws[i].Optional {
				d.Add(ws[i].From, "%s", why)
			}
		}
	}
	p.Writes, p.Late = nil, nil
}

// OwnerUID returns the host uid that the container's cgroup is handed over to,
// or -1. By the spec ("Cgroup ownership") that is the one which
// process.user.uid is mapped to, and only where the container gets a new cgroup
// namespace and a read-write cgroup mount at /sys/fs/cgroup.
func OwnerUID(s *specs.Spec) int {
	if s.Linux == nil || !newCgroupNamespace(s.Linux.Namespaces) || !writableCgroupMount(s.Mounts) {
		return -1
	}
	var uid uint32
	if s.Process != nil {
		uid = s.Process.User.UID
	}
	newUser := false
	for _, ns := range s.Linux.Namespaces {
		newUser = newUser || ns.Type == specs.UserNamespace
	}
	if !newUser {
		return int(uid)
	}
	for _, m := range s.Linux.UIDMappings {
		if uid >= m.ContainerID && uid-m.ContainerID < m.Size {
			return int(m.HostID + (uid - m.ContainerID))
		}
	}
	return -1
}

func newCgroupNamespace(list []specs.LinuxNamespace) bool {
	for _, ns := range list {
		if ns.Type == specs.CgroupNamespace {
			return ns.Path == ""
		}
	}
	return false
}
