package doctor

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/cgroups/systemd"
)

// controllers are those that limits are made of.
var controllers = []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"}

func (r *report) cgroups() {
	r.area = "cgroups"
	root, own, err := cgroups.Find()
	switch {
	case err != nil || root == "":
		found := "not mounted"
		if err != nil {
			found = err.Error()
		}
		r.missing("cgroup v2", found, "containers have no cgroup: no limits, no freezing, no list of their processes", mountCgroup2())
		if os.Geteuid() == 0 { // an ordinary user's do without
			r.needed()
		}
		return
	case root == "/sys/fs/cgroup":
		r.there("cgroup v2", "at "+root, "each container has a cgroup of its own")
	default:
		r.restricted("cgroup v2", "at "+root+", beside cgroup v1", "controllers that v1 has taken are not there for limits", "boot with systemd.unified_cgroup_hierarchy=1")
	}
	r.controllers(root)
	r.parent(root, own)
	r.systemd()
	r.devicePrograms()
}

// mountCgroup2 returns how it is mounted where something may be mounted already.
func mountCgroup2() string {
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err == nil && fs.Type == unix.TMPFS_MAGIC {
		return "boot with systemd.unified_cgroup_hierarchy=1; or mount it beside v1: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
	}
	return "mount it: mount -t cgroup2 none /sys/fs/cgroup"
}

func (r *report) controllers(root string) {
	has := strings.Fields(word(path.Join(root, "cgroup.controllers")))
	var there, absent []string
	for _, c := range controllers {
		if slices.Contains(has, c) {
			there = append(there, c)
		} else {
			absent = append(absent, c)
		}
	}
	found := "none"
	if len(there) > 0 {
		found = strings.Join(there, " ")
	}
	if len(absent) == 0 {
		r.there("controllers", found, "limits of each kind can be set")
		return
	}
	r.restricted("controllers", found+"; not "+strings.Join(absent, " "), "a config with a limit that needs a missing one is refused",
		"for those that cgroup v1 holds (see /proc/cgroups), boot with cgroup_no_v1="+strings.Join(absent, ",")+"; others the kernel was built without")
}

// parent looks at where containers without a cgroupsPath go.
func (r *report) parent(root, own string) {
	const means = "a container's cgroup is made beside gourd's own"
	if strings.HasPrefix(own, "/..") {
		r.restricted("own cgroup", own+" is outside of this cgroup namespace", means, "give an absolute linux.cgroupsPath")
		return
	}
	dir := path.Join(root, path.Dir(path.Clean("/"+own)))
	switch err := unix.Access(dir, unix.W_OK); {
	case err == nil:
		r.there("own cgroup", own+", and its parent can be written", means)
	case errors.Is(err, unix.EROFS):
		r.restricted("own cgroup", dir+" is mounted read-only", means, "mount -o remount,rw "+root)
	default:
		r.restricted("own cgroup", dir+": "+err.Error(), means+"; without one a container has no limits", "run as root, or with --systemd-cgroup in a login session, or let the owner delegate a cgroup")
	}
}

func (r *report) systemd() {
	const means = "with --systemd-cgroup containers are scopes of systemd's"
	user := os.Geteuid() != 0
	m, err := systemd.Connect(context.Background(), user)
	if err != nil {
		r.missing("systemd", err.Error(), means, "needed only for --systemd-cgroup, which Kubernetes uses and, for ordinary users, Podman")
		return
	}
	m.Close()
	if user {
		r.there("systemd", "the user's own answers", means)
	} else {
		r.there("systemd", "answers", means)
	}
}

// devicePrograms loads the smallest program of the kind that device rules are.
func (r *report) devicePrograms() {
	const means = "the rules of linux.resources.devices are programs that the kernel runs"
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupDevice, License: "Apache-2.0", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	switch {
	case err == nil:
		p.Close()
		r.there("device programs", "can be loaded", means)
	case errors.Is(err, unix.EPERM):
		r.restricted("device programs", "refused to this user", means+"; a rootless container is gone without", "nothing: device nodes that a rootless container sees are the user's own to open")
	default:
		r.missing("device programs", err.Error(), means, "use a kernel with CONFIG_CGROUP_BPF")
	}
}
