package main

import (
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/seccomp"
	"github.com/gourd-oci/gourd/tests/bench/floor"
)

// compileFloor turns a config, which is one of the benchmark's own, into the
// plan of the floor: by gourd's compilers, so that the two do the same.
func compileFloor(s *specs.Spec, bundle, parent string) (*floor.Plan, error) {
	var d defect.List
	r := rootfs.Compile(s, rootfs.Env{Bundle: bundle, Rootfs: s.Root.Path, HostUserNS: true, NewCgroupNS: true}, &d)
	p := &floor.Plan{
		Parent: parent, Rootfs: s.Root.Path, Hostname: s.Hostname, Args: s.Process.Args, Env: s.Process.Env,
		Links: []floor.Link{
			{Path: "/dev/fd", Target: "/proc/self/fd"}, {Path: "/dev/stdin", Target: "/proc/self/fd/0"},
			{Path: "/dev/stdout", Target: "/proc/self/fd/1"}, {Path: "/dev/stderr", Target: "/proc/self/fd/2"},
			{Path: "/dev/core", Target: "/proc/kcore"}, {Path: "/dev/ptmx", Target: "pts/ptmx"},
		},
		Readonly: existing(r.ReadonlyPaths),
	}
	for _, ns := range s.Linux.Namespaces {
		p.Namespaces |= cloneFlags[ns.Type]
	}
	for i := range r.Mounts {
		p.Mounts = append(p.Mounts, floorMount(&r.Mounts[i]))
	}
	for _, dev := range r.Devices {
		p.Nodes = append(p.Nodes, floor.Node{Path: dev.Path, Mode: dev.Mode, Dev: dev.Dev})
	}
	for _, c := range r.Sysctls {
		p.Sysctls = append(p.Sysctls, floor.Sysctl{Path: "/proc/" + c.File, Value: c.Value})
	}
	for _, path := range existing(r.MaskedPaths) {
		st, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		p.Masked = append(p.Masked, floor.Mask{Path: path, Dir: st.IsDir()})
	}
	if program, _ := seccomp.Compile(s.Linux.Seccomp, seccomp.Env{}, &d); program != nil {
		p.Filter, p.FilterFlag = program.Filter, program.Flags
	}
	return p, d.Err()
}

var cloneFlags = map[specs.LinuxNamespaceType]uint64{
	specs.PIDNamespace: unix.CLONE_NEWPID, specs.NetworkNamespace: unix.CLONE_NEWNET, specs.IPCNamespace: unix.CLONE_NEWIPC,
	specs.UTSNamespace: unix.CLONE_NEWUTS, specs.MountNamespace: unix.CLONE_NEWNS, specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
}

// existing leaves out the paths of /proc and /sys that this kernel does not have.
func existing(paths []string) (have []string) {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			have = append(have, path)
		}
	}
	return have
}

// floorMount returns a mount as mount(2) makes it.
func floorMount(m *rootfs.Mount) floor.Mount {
	f := floor.Mount{Source: m.Source, Target: m.Destination, Dir: m.Kind == rootfs.Filesystem}
	set := m.Set
	if m.LateReadonly {
		set |= unix.MOUNT_ATTR_RDONLY
	}
	for _, p := range m.Propagation {
		f.Propagation |= p
	}
	if m.Kind == rootfs.Bind {
		f.Flags = unix.MS_BIND
		if m.Recursive {
			f.Flags |= unix.MS_REC
		}
		if set != 0 {
			f.Again = unix.MS_BIND | unix.MS_REMOUNT | mountFlags(set)
		}
		return f
	}
	f.Type, f.Flags = m.Type, mountFlags(set)
	if f.Type == "cgroup" {
		f.Type = "cgroup2"
	}
	var data []string
	for _, p := range m.Params {
		if p.Value == "" {
			data = append(data, p.Key)
		} else {
			data = append(data, p.Key+"="+p.Value)
		}
	}
	f.Data = strings.Join(data, ",")
	return f
}

// mountFlags turns MOUNT_ATTR_ bits into MS_ flags.
func mountFlags(attrs uint64) (flags uint64) {
	for _, f := range [...]struct{ attr, flag uint64 }{
		{unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY}, {unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID}, {unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
		{unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC}, {unix.MOUNT_ATTR_NOATIME, unix.MS_NOATIME},
		{unix.MOUNT_ATTR_STRICTATIME, unix.MS_STRICTATIME}, {unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
	} {
		if attrs&f.attr != 0 {
			flags |= f.flag
		}
	}
	return flags
}
