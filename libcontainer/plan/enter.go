package plan

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/nsenter"
)

// NamespaceFlag returns the clone flag of a namespace type, 0 for an unknown one.
func NamespaceFlag(t specs.LinuxNamespaceType) uintptr {
	switch t {
	case specs.PIDNamespace:
		return unix.CLONE_NEWPID
	case specs.NetworkNamespace:
		return unix.CLONE_NEWNET
	case specs.MountNamespace:
		return unix.CLONE_NEWNS
	case specs.IPCNamespace:
		return unix.CLONE_NEWIPC
	case specs.UTSNamespace:
		return unix.CLONE_NEWUTS
	case specs.UserNamespace:
		return unix.CLONE_NEWUSER
	case specs.CgroupNamespace:
		return unix.CLONE_NEWCGROUP
	case specs.TimeNamespace:
		return unix.CLONE_NEWTIME
	}
	return 0
}

// KernelName returns the name of a namespace type in /proc/PID/ns.
func KernelName(flag uintptr) string {
	switch flag {
	case unix.CLONE_NEWPID:
		return "pid"
	case unix.CLONE_NEWNET:
		return "net"
	case unix.CLONE_NEWNS:
		return "mnt"
	case unix.CLONE_NEWIPC:
		return "ipc"
	case unix.CLONE_NEWUTS:
		return "uts"
	case unix.CLONE_NEWUSER:
		return "user"
	case unix.CLONE_NEWCGROUP:
		return "cgroup"
	case unix.CLONE_NEWTIME:
		return "time"
	}
	return ""
}

// compileEnter turns linux.namespaces, the id mappings and the time offsets
// into what nsenter does. That they fit together, spec.Check has checked.
func compileEnter(s *specs.Spec, facts *host.Facts, d *defect.List) Enter {
	var e Enter
	for i, ns := range s.Linux.Namespaces {
		flag := NamespaceFlag(ns.Type)
		if ns.Path != "" {
			e.Join = append(e.Join, Join{Flag: flag, Path: ns.Path, From: fmt.Sprintf("linux.namespaces[%d].path", i)})
		} else {
			e.New |= flag
		}
	}
	e.UIDMaps = IDMaps(s.Linux.UIDMappings)
	e.GIDMaps = IDMaps(s.Linux.GIDMappings)
	if e.New&unix.CLONE_NEWUSER != 0 {
		e.MapHelpers = facts.EUID != 0 && (!oneID(e.UIDMaps) || !oneID(e.GIDMaps))
		e.DenySetgroups = facts.EUID != 0 && !e.MapHelpers // newgidmap does so itself where it must
	} else if facts.EUID != 0 && e.Joins(unix.CLONE_NEWUSER) == nil {
		d.Add("linux.namespaces", "a user namespace is needed to run as an ordinary user (uid %d)", facts.EUID)
	}
	for _, clock := range []string{"monotonic", "boottime"} {
		if o, ok := s.Linux.TimeOffsets[clock]; ok {
			e.Offsets = append(e.Offsets, nsenter.Offset{Clock: clock, Secs: o.Secs, Nanosecs: o.Nanosecs})
		}
	}
	return e
}

// noSetgroups is whether the container's user namespace has no setgroups(2). Of
// one that is joined, or whose maps newgidmap writes, only the kernel knows.
func (e *Enter) noSetgroups(facts *host.Facts) bool {
	return e.DenySetgroups || facts.SetgroupsDenied && e.Joins(unix.CLONE_NEWUSER) == nil
}

// oneID is whether only one id is mapped: that it is the user's own, the kernel
// sees to.
func oneID(m []nsenter.IDMap) bool { return len(m) == 1 && m[0].Size == 1 }

// IDMaps returns the mappings of a config as nsenter takes them.
func IDMaps(in []specs.LinuxIDMapping) []nsenter.IDMap {
	if len(in) == 0 {
		return nil
	}
	out := make([]nsenter.IDMap, len(in))
	for i, m := range in {
		out[i] = nsenter.IDMap{Inside: m.ContainerID, Outside: m.HostID, Size: m.Size}
	}
	return out
}
