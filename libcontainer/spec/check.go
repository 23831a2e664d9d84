package spec

import (
	"math"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// maxName is how long a host or domain name may be, in bytes: the kernel's
// __NEW_UTS_LEN (sethostname(2)).
const maxName = 64

// Check adds a defect for every rule of the spec that the config breaks and
// for every property that gourd does not do yet, as far as they belong to no
// package that compiles a part of the config: process.args, env, user and the
// like are credentials', mounts and devices rootfs's, and so on. It is pure:
// what depends on the host is CheckRoot's, and found out when it is used.
func Check(s *specs.Spec, d *defect.List) {
	checkVersion(s.Version, d)
	switch {
	case s.Root == nil:
		d.Add("root", "missing: the spec requires it on Linux")
	case s.Root.Path == "":
		d.Add("root.path", "missing or empty")
	}
	if s.Process == nil {
		// The spec has create do without; no engine does, and runc refuses.
		d.Add("process", "missing: gourd needs it to create a container")
	} else {
		CheckProcess(s.Process, d)
	}
	if _, ok := s.Annotations[""]; ok {
		d.Add("annotations", "a key is the empty string")
	}

	l := s.Linux
	if l == nil {
		l = &specs.Linux{}
	}
	n := checkNamespaces(l.Namespaces, d)
	checkUserNS(l, n, d)
	checkMountMappings(s.Mounts, d)
	checkTimeOffsets(l, n, d)
	checkName("hostname", s.Hostname, n, d)
	checkName("domainname", s.Domainname, n, d)
}

// checkVersion accepts every release of major version 1, newer ones too: the
// spec promises that they are compatible, and unknown properties are ignored.
func checkVersion(text string, d *defect.List) {
	v, ok := parseVersion(text)
	switch {
	case text == "":
		d.Add("ociVersion", "missing or empty")
	case !ok:
		d.Add("ociVersion", "%q is not a semantic version, like %s", text, specs.Version)
	case v.major != specs.VersionMajor:
		d.Add("ociVersion", "%s is of another major version than the runtime-spec %s that gourd implements", text, specs.Version)
	}
}

// CheckProcess checks what of process, the container's or an exec's, is not the
// credentials'.
func CheckProcess(p *specs.Process, d *defect.List) {
	// Without a terminal the size MUST be ignored. A winsize has 16 bits a side
	// (ioctl_tty(2)).
	if size := p.ConsoleSize; p.Terminal && size != nil {
		if size.Height > math.MaxUint16 {
			d.Add("process.consoleSize.height", "%d is more than a terminal can have, %d", size.Height, math.MaxUint16)
		}
		if size.Width > math.MaxUint16 {
			d.Add("process.consoleSize.width", "%d is more than a terminal can have, %d", size.Width, math.MaxUint16)
		}
	}
	if a := p.ExecCPUAffinity; a != nil {
		if _, err := CPUs(a.Initial); err != nil {
			d.Add("process.execCPUAffinity.initial", "%v", err)
		}
		if _, err := CPUs(a.Final); err != nil {
			d.Add("process.execCPUAffinity.final", "%v", err)
		}
	}
}

// checkName checks a name of the uts namespace: without one of its own, the
// container would rename the host.
func checkName(path, name string, n namespaces, d *defect.List) {
	if name == "" {
		return
	}
	if n.of(specs.UTSNamespace) == nil {
		d.Add(path, "%q can be set only in a uts namespace; linux.namespaces has none", name)
	}
	if len(name) > maxName {
		d.Add(path, "%q has %d bytes; the kernel takes %d", name, len(name), maxName)
	}
}
