// Package rootfs makes the root filesystem of a container: its mounts, device
// nodes, symlinks in /dev, sysctls, the change of root, the console, and the
// read-only and masked paths.
//
// Compile turns the config into a Plan, plain data, and finds every defect
// without touching anything. The methods of Root apply a Plan inside the
// container's init, in the order in which they stand in Open's comment.
//
// Every path of the container is looked up beneath the file descriptor of its
// root, mounts are moved onto the descriptor that was looked up, and nothing
// is looked up twice: an image, or another container that shares a volume,
// cannot move a mount, a node or a write elsewhere by swapping paths. What
// such an attacker can still do is decide where beneath the root the lookup
// ends.
//
// The package makes no namespaces, runs no hooks and sets no ids.
package rootfs

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// Env is what Compile has to know beyond the config.
type Env struct {
	Bundle     string // absolute path of the bundle
	Rootfs     string // absolute path of the root filesystem; "" when unknown
	NoPivot    bool   // --no-pivot
	NewUserNS  bool   // the container has a user namespace of its own, made or joined
	HostUserNS bool   // gourd itself runs in the initial user namespace
	SELinux    bool   // that LSM is enabled
	// UnknownLabels are labels that its policy does not have.
	UnknownLabels []string
	// ForeignNetwork is whether the network namespace may be another user
	// namespace's than the container's own: it is not made with that.
	ForeignNetwork bool
	NewCgroupNS    bool   // the container has a cgroup namespace of its own
	CgroupDir      string // the container's cgroup directory on the host's cgroup2, or ""
	// Unprivileged is whether gourd is not root, be it of a user namespace: it
	// has no more rights over the host's files than container root.
	Unprivileged bool
	// HostNamespaces are those joined by path, as CLONE_ flags, that gourd runs in
	// itself.
	HostNamespaces uintptr
	HostMounts     bool // the container inherits gourd's mount namespace
}

// Plan is what Compile returns: all that init needs, as plain data.
type Plan struct {
	Bundle string // absolute path of the bundle
	Rootfs string // path of the root filesystem: absolute, or below Bundle

	Propagation uint64 // linux.rootfsPropagation as MS_ flags; 0 when unset
	NoPivot     bool
	// Shared is whether the mount namespace is not the container's own: a joined
	// one, or gourd's. Whole is whether root.path is all of a joined one; then
	// its mounts are left alone.
	Shared, Whole bool
	Readonly      bool // root.readonly
	Cwd           string

	Mounts []Mount

	// AskSources is whether the runtime can open what init may not: init's user
	// namespace is not the runtime's.
	AskSources bool

	SetupDev    bool // make nodes and symlinks in /dev: no bind mount covers it
	BindDevices bool // a user namespace forbids mknod: bind the host's nodes
	Devices     []Device

	MountLabel    string   // the SELinux context of what covers masked directories; empty: none
	MaskedPaths   []string // absolute and clean
	ReadonlyPaths []string // absolute and clean

	Sysctls []Sysctl // by name

	Warnings []string // what the config asks for and does not get; not for init
}

// Kind says how a Mount is made.
type Kind int

// The kinds of a Mount.
const (
	Filesystem Kind = iota // a new filesystem of Mount.Type
	Bind                   // a copy of the mount tree at Mount.Source
	Remount                // a change to what is mounted at the destination already
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Filesystem:
		return "filesystem"
	case Bind:
		return "bind"
	case Remount:
		return "remount"
	}
	return "unknown kind"
}

// Param is one filesystem parameter.
type Param = linux.Param

// Mount is one entry of the config's mounts.
type Mount struct {
	Where       string // JSON path: mounts[4]
	Kind        Kind
	Type        string // the filesystem's type, of Filesystem
	Source      string // absolute host path of Bind; whatever Type makes of it, of Filesystem
	Destination string // absolute and clean
	Recursive   bool   // Bind: with the mounts below Source

	Set, Clear       uint64 // MOUNT_ATTR_ bits for this mount
	Unnamed          uint64 // of a bind, to be cleared too unless the kernel has them locked
	RecSet, RecClear uint64 // the same for it and all mounts below it
	Propagation      []uint64
	Params           []Param // of the filesystem
	LateReadonly     bool    // read-only only at the end, for what has to be put into it first

	// Legacy asks for mount(2), which takes longer values and two flags that
	// fsconfig(2) has no words for; LegacyFlags are these flags.
	Legacy      bool
	LegacyFlags uint64

	RootLabel  string // the SELinux context of the root directory; "": as the filesystem has it
	NoSymlinks bool   // the destination must be reached through real directories
	ProcSource bool   // the source must be the root of a procfs
	SysSource  bool   // the source must be on a sysfs
	CopyUp     bool   // tmpcopyup
	OwnMode    bool   // tmpfs: mode is given, do not take that of the destination
	IDMap      *IDMap
	Fallback   string // host directory to bind when the kernel refuses Type
}

// String returns "mounts[4] (/etc/hosts)", which leads every error about m.
func (m *Mount) String() string { return m.Where + " (" + m.Destination + ")" }

// Device is a device node or FIFO to make.
type Device struct {
	Where    string // JSON path, or "default device"
	Path     string // absolute and clean
	Mode     uint32 // type and permissions as in st_mode
	Dev      uint64 // device number; 0 for a FIFO
	UID, GID uint32
}

// String returns "linux.devices[0] (/dev/fuse)".
func (d *Device) String() string { return d.Where + " (" + d.Path + ")" }

// Sysctl is one value to write.
type Sysctl struct {
	Name  string // as in the config
	File  string // below /proc
	Value string
}

// Compile turns root, mounts, the devices, paths and sysctls of linux, and
// process.cwd of s into a Plan. What is wrong is added to d; the Plan is of use
// only when nothing was.
func Compile(s *specs.Spec, e Env, d *defect.List) Plan {
	p := Plan{Bundle: e.Bundle, NoPivot: e.NoPivot, BindDevices: e.NewUserNS || !e.HostUserNS}
	compileRoot(s, &p, d)
	if s.Process != nil && s.Process.Cwd != "" {
		p.Cwd = filepath.Clean("/" + s.Process.Cwd)
	}
	p.Shared = e.HostMounts || joinsMounts(s)
	if p.Whole = p.Shared && p.Rootfs == "/"; p.Whole {
		refuseInWhole(s, d)
		p.Sysctls = compileSysctls(s.Linux, &e, d)
		return p
	}
	p.SetupDev = true
	p.AskSources = e.NewUserNS && !e.Unprivileged
	for i := range s.Mounts {
		m := compileMount(i, &s.Mounts[i], &e, &p, d)
		if m.Kind == Bind && m.Destination == "/dev" {
			p.SetupDev = false
		}
		p.Mounts = append(p.Mounts, m)
	}
	l := s.Linux
	if l == nil {
		l = &specs.Linux{}
	}
	p.Propagation = compilePropagation(l.RootfsPropagation, d)
	p.MountLabel = compileLabel(l, &e, d)
	ownIPC := slices.ContainsFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.IPCNamespace })
	for i := range p.Mounts {
		p.Mounts[i].label(p.MountLabel, ownIPC)
	}
	p.Devices = compileDevices(l.Devices, d)
	p.MaskedPaths = compilePaths("linux.maskedPaths", l.MaskedPaths, d)
	p.ReadonlyPaths = compilePaths("linux.readonlyPaths", l.ReadonlyPaths, d)
	p.Sysctls = compileSysctls(l, &e, d)
	return p
}

func compileRoot(s *specs.Spec, p *Plan, d *defect.List) {
	switch {
	case s.Root == nil:
		d.Add("root", "missing")
	case s.Root.Path == "":
		d.Add("root.path", "missing")
	case strings.IndexByte(s.Root.Path, 0) >= 0:
		d.Add("root.path", "%q holds a NUL byte", s.Root.Path)
	default:
		p.Rootfs = filepath.Clean(s.Root.Path)
		p.Readonly = s.Root.Readonly
		if p.Rootfs == "/" && !joinsMounts(s) {
			d.Add("root.path", "the host's root cannot be the container's")
		}
	}
}

func compilePropagation(name string, d *defect.List) uint64 {
	if name == "" {
		return 0
	}
	o, ok := findOption(name)
	if !ok || o.what != optPropagation {
		d.Add("linux.rootfsPropagation", "%q is none of private, slave, shared, unbindable, rprivate, rslave, rshared, runbindable", name)
		return 0
	}
	return o.bits
}

// compilePaths cleans paths and drops repeated ones.
func compilePaths(where string, paths []string, d *defect.List) []string {
	var out []string
next:
	for i, path := range paths {
		clean := filepath.Clean("/" + path)
		switch {
		case path == "":
			d.Add(index(where, i), "empty path")
			continue
		case strings.IndexByte(path, 0) >= 0:
			d.Add(index(where, i), "%q holds a NUL byte", path)
			continue
		case path[0] != '/':
			d.Add(index(where, i), "%q is not an absolute path", path)
			continue
		case clean == "/":
			d.Add(index(where, i), "%q is the container's root itself (root.readonly makes that read-only)", path)
			continue
		}
		for _, seen := range out {
			if seen == clean {
				continue next
			}
		}
		out = append(out, clean)
	}
	return out
}

func hasNamespace(l *specs.Linux, t specs.LinuxNamespaceType) bool {
	for i := range l.Namespaces {
		if l.Namespaces[i].Type == t {
			return true
		}
	}
	return false
}

// propagationType splits MS_REC off flags.
func propagationType(flags uint64) (kind uint64, recursive bool) {
	return flags &^ unix.MS_REC, flags&unix.MS_REC != 0
}
