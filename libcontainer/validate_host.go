package libcontainer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/cgroups/systemd"
	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/doctor"
	"github.com/gourd-oci/gourd/libcontainer/features"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/netdevices"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/nsenter"
)

// hostCheck looks at what of the host a config needs. Where it cannot be sure
// it says nothing: create will.
type hostCheck struct {
	bundle  *spec.Bundle
	program doctor.Program
	options *plan.Options // of this host
	uid     int
	d       *defect.List
}

// namespaces makes each new namespace, and opens those to join.
func (h *hostCheck) namespaces() {
	if h.bundle.Spec.Linux == nil {
		return
	}
	for i, ns := range h.bundle.Spec.Linux.Namespaces {
		at := fmt.Sprintf("linux.namespaces[%d]", i)
		flag := plan.NamespaceFlag(ns.Type)
		if flag == 0 {
			continue // a defect, told by spec.Check
		}
		if ns.Path != "" {
			fd, err := openNamespace(&plan.Join{Flag: flag, Path: ns.Path, From: at + ".path"})
			if err != nil {
				h.d.Add(at+".path", "%s", strings.TrimPrefix(err.Error(), at+".path: "))
				continue
			}
			unix.Close(fd)
			continue
		}
		if err := h.program.Try(flag); err != nil {
			h.d.Add(at, "no new %s namespace can be made here: %v (gourd doctor tells more)", ns.Type, err)
		}
	}
}

// mounts looks for the sources of bind mounts and for the filesystems.
func (h *hostCheck) mounts() {
	for i, m := range h.bundle.Spec.Mounts {
		at := fmt.Sprintf("mounts[%d]", i)
		if slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") || m.Type == "bind" {
			source := m.Source
			if source == "" {
				continue // a defect
			}
			if !filepath.IsAbs(source) {
				source = filepath.Join(h.bundle.Dir, source)
			}
			if _, err := os.Stat(source); err != nil && !h.mountedBefore(i, source) {
				h.d.Add(at+".source", "%v", err)
			}
			continue
		}
		if m.Type == "" || m.Type == "cgroup" || slices.Contains(m.Options, "remount") {
			continue
		}
		if found, ok := doctor.Filesystem(m.Type); !ok {
			h.d.Add(at+".type", "%q: %s", m.Type, found)
		}
	}
}

// mountedBefore is whether an earlier mount may bring a source: it is inside
// the root filesystem.
func (h *hostCheck) mountedBefore(mount int, source string) bool {
	root := h.bundle.RootPath()
	return mount > 0 && root != "" && (source == root || strings.HasPrefix(source, root+"/"))
}

// hooks looks for the programs of the hooks, but for those of startContainer,
// which are the container's own.
func (h *hostCheck) hooks() {
	var ignored defect.List
	p := hooks.Compile(h.bundle.Spec.Hooks, &ignored)
	for phase, list := range map[string][]hooks.Hook{
		"prestart": p.Prestart, "createRuntime": p.CreateRuntime, "createContainer": p.CreateContainer,
		"poststart": p.Poststart, "poststop": p.Poststop,
	} {
		for _, hook := range list {
			if hook.Path == "" {
				continue
			}
			if err := unix.Access(hook.Path, unix.X_OK); err != nil {
				h.d.Add(fmt.Sprintf("hooks.%s[%d].path", phase, hook.Index), "%s: %v", hook.Path, err)
			}
		}
	}
}

// executable looks for the program in the root filesystem, if no mount may
// bring it.
func (h *hostCheck) executable(p *plan.Plan) {
	if p.Init.JoinMountNS || bringsPrograms(p.Init.Rootfs.Mounts) {
		return
	}
	root, err := unix.Open(p.Rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // a defect
	}
	defer unix.Close(root)
	process := h.bundle.Spec.Process
	name := process.Args[0]
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(process.Cwd, name)
		}
		if err := isProgram(root, name); err != nil {
			h.d.Add("process.args[0]", "%s in the root filesystem %s: %v", name, p.Rootfs, err)
		}
		return
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range process.Env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			search = value
		}
	}
	for dir := range strings.SplitSeq(search, ":") {
		if isProgram(root, path.Join("/", dir, name)) == nil {
			return
		}
	}
	h.d.Add("process.args[0]", "%q is in no directory of PATH (%s) in the root filesystem %s", name, search, p.Rootfs)
}

// bringsPrograms is whether one of the mounts may hold programs: all but those
// of places and filesystems that never do.
func bringsPrograms(mounts []rootfs.Mount) bool {
	return slices.ContainsFunc(mounts, func(m rootfs.Mount) bool {
		for _, dir := range []string{"/dev", "/proc", "/sys", "/etc", "/run", "/var/run"} {
			if m.Destination == dir || strings.HasPrefix(m.Destination, dir+"/") {
				return false
			}
		}
		return true
	})
}

// isProgram is whether a path of the container is a file that may be executed
// by somebody.
func isProgram(root int, name string) error {
	fd, err := linux.OpenInRoot(root, name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return unix.EACCES
	}
	return nil
}

// idMaps looks whether an ordinary user has the ids that are to be mapped.
func (h *hostCheck) idMaps(p *plan.Plan) {
	if h.uid == 0 || p.Enter.New&unix.CLONE_NEWUSER == 0 {
		return
	}
	for _, k := range []struct {
		at, helper, file string
		own              int
		maps             []nsenter.IDMap
	}{
		{"linux.uidMappings", "newuidmap", "/etc/subuid", h.uid, p.Enter.UIDMaps},
		{"linux.gidMappings", "newgidmap", "/etc/subgid", os.Getegid(), p.Enter.GIDMaps},
	} {
		own := host.IDRange{First: uint64(k.own), Count: 1}
		if len(k.maps) == 1 && k.maps[0].Size == 1 {
			if uint64(k.maps[0].Outside) != own.First {
				h.d.Add(k.at+"[0].hostID", "%d is not your own id, %d", k.maps[0].Outside, k.own)
			}
			continue
		}
		if _, err := exec.LookPath(k.helper); err != nil {
			h.d.Add(k.at, "an ordinary user needs %s to map more than the own id: %v", k.helper, err)
			continue
		}
		have, _ := host.SubIDs(k.file, h.uid) // none where the file is not there
		have = append(have, own)
		for i, m := range k.maps {
			if r := (host.IDRange{First: uint64(m.Outside), Count: uint64(m.Size)}); !host.Holds(have, r) {
				h.d.Add(fmt.Sprintf("%s[%d]", k.at, i), "%s does not give you the ids %d to %d", k.file, r.First, r.First+r.Count-1)
			}
		}
	}
}

// netDevices looks for the network devices to move.
func (h *hostCheck) netDevices(p *plan.Plan) {
	if p == nil || len(p.Devices) == 0 {
		return // or a defect
	}
	missing, err := netdevices.Missing(p.Devices)
	if err != nil {
		return
	}
	for _, dev := range missing {
		h.d.Add("linux.netDevices."+dev.Name, "there is no network device of this name here")
	}
}

// resctrl looks for a group that is to be there, and at what it has, or whether
// one can be made.
func (h *hostCheck) resctrl(p *plan.Plan) {
	const at = "linux.intelRdt"
	if p == nil || p.Resctrl == nil {
		return // or a defect
	}
	if _, err := p.Resctrl.Check(h.d); err != nil {
		h.d.Add(at, "%s", strings.TrimPrefix(err.Error(), at+": "))
	}
	if err := unix.Access(p.Resctrl.Root, unix.W_OK); err != nil {
		h.d.Add(at, "no group can be made in %s: %v", p.Resctrl.Root, err)
	}
}

// sysctls looks whether the kernel has them.
func (h *hostCheck) sysctls(p *plan.Plan) {
	for _, s := range p.Init.Rootfs.Sysctls {
		if _, err := os.Lstat("/proc/" + s.File); os.IsNotExist(err) {
			h.d.Add("linux.sysctl."+s.Name, "this kernel has none of this name")
		}
	}
}

// seccomp looks whether the kernel takes the filter's flags.
func (h *hostCheck) seccomp(p *plan.Plan) {
	s := h.bundle.Spec.Linux.Seccomp
	if s == nil || p.Init.Seccomp == nil {
		return
	}
	has := features.Supported("", "").Linux.Seccomp.SupportedFlags
	if len(has) == 0 {
		h.d.Add("linux.seccomp", "this kernel takes no filter")
		return
	}
	for i, f := range s.Flags {
		if !slices.Contains(has, string(f)) {
			h.d.Add(fmt.Sprintf("linux.seccomp.flags[%d]", i), "this kernel does not know %s", f)
		}
	}
}

// memoryPolicy sets the policy, for a thread that ends then.
func (h *hostCheck) memoryPolicy(p *plan.Plan) {
	if err := onThread(p.Init.Credentials.SetMemoryPolicy); err != nil {
		const at = "linux.memoryPolicy"
		h.d.Add(at, "%s", strings.TrimPrefix(err.Error(), at+": "))
	}
}

// limits looks whether gourd may set the process's limits.
func (h *hostCheck) limits() {
	for i, l := range h.bundle.Spec.Process.Rlimits {
		if l.Type != "RLIMIT_NOFILE" {
			continue
		}
		text, err := os.ReadFile("/proc/sys/fs/nr_open")
		if err != nil {
			continue
		}
		if most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && l.Hard > most {
			h.d.Add(fmt.Sprintf("process.rlimits[%d].hard", i), "%d is more than this host allows to anybody, fs.nr_open = %d", l.Hard, most)
		}
	}
}

// cgroup looks for the controllers that limits need, and for a place where the
// cgroup may be made.
func (h *hostCheck) cgroup() {
	s, o := h.bundle.Spec, h.options
	var ignored defect.List // told already
	p := cgroups.Compile(s.Linux.Resources, cgroups.Env{
		Root: o.CgroupRoot, Own: o.CgroupOwn, ID: o.ID, CgroupsPath: s.Linux.CgroupsPath, Rootless: o.Rootless,
		Systemd: o.CgroupManager == "systemd", Disabled: o.CgroupManager == "disabled", Annotations: s.Annotations,
	}, &ignored)
	switch {
	case p.Manager == cgroups.ManagerNone || len(ignored) > 0:
		return
	case p.Manager == cgroups.ManagerSystemd:
		m, err := systemd.Connect(context.Background(), o.Rootless)
		if err != nil {
			h.d.Add("linux.cgroupsPath", "%v", err)
		} else {
			m.Close()
		}
	case p.Required: // where it is not, a container is gone without
		h.cgroupParent(filepath.Join(o.CgroupRoot, p.Path))
	}
	h.controllers(&p)
}

// cgroupParent looks whether the cgroup can be made where it is to be.
func (h *hostCheck) cgroupParent(dir string) {
	for {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			return
		}
		if err != unix.ENOENT || dir == h.options.CgroupRoot {
			h.d.Add("linux.cgroupsPath", "no cgroup can be made in %s: %v", dir, err)
			return
		}
		dir = filepath.Dir(dir)
	}
}

// controllers looks whether those are there that limits need.
func (h *hostCheck) controllers(p *cgroups.Plan) {
	file := filepath.Join(h.options.CgroupRoot, "cgroup.controllers")
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	has := strings.Fields(string(data))
	told := map[string]bool{}
	for _, w := range slices.Concat(p.Writes, p.Late) {
		if w.Optional || w.Controller == "" || slices.Contains(has, w.Controller) || told[w.From] {
			continue
		}
		told[w.From] = true
		h.d.Add(w.From, "this host's cgroup v2 has no %s controller (%s: %s)", w.Controller, file, strings.Join(has, " "))
	}
}
