package doctor

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/resctrl"
)

// types are the filesystems that configs ask for.
var types = []struct {
	name, means string
	need        bool
}{
	{"proc", "/proc of a container", true},
	{"sysfs", "/sys of a container", false},
	{"tmpfs", "/dev and other places that are gone with the container", true},
	{"devpts", "terminals", false},
	{"mqueue", "/dev/mqueue", false},
	{"cgroup2", "/sys/fs/cgroup of a container", false},
	{"overlay", "engines stack images with it; gourd hides its binary from containers behind one", false},
}

func (r *report) filesystems() {
	r.area = "filesystems"
	for _, t := range types {
		found, ok := Filesystem(t.name)
		if ok {
			r.there(t.name, found, t.means)
			continue
		}
		r.missing(t.name, found, t.means, "modprobe "+t.name+", or use a kernel that has it")
		if t.need {
			r.needed()
		}
	}
	const means = "what a container writes to its /proc and what gourd reads there cannot be faked"
	fd, err := linux.PrivateProc()
	switch {
	case err != nil:
		r.restricted("private procfs", err.Error(), means, "unmount what is mounted over /proc and its files; a container around gourd hides them (masked paths)")
	default:
		unix.Close(fd)
		r.there("private procfs", "can be had", means)
	}
	r.resctrl()
}

// resctrl looks for the filesystem of linux.intelRdt, which is to be mounted by
// whoever runs the host.
func (r *report) resctrl() {
	const means = "containers can have their part of the caches and of the memory bandwidth (linux.intelRdt)"
	root, err := resctrl.Find()
	known, _ := os.ReadFile("/proc/filesystems")
	switch {
	case err != nil:
		r.missing("resctrl", err.Error(), means, "see why")
	case root != "":
		r.there("resctrl", "mounted at "+root, means)
	case slices.Contains(strings.Fields(string(known)), "resctrl"):
		r.restricted("resctrl", "not mounted", means, "mount -t resctrl resctrl /sys/fs/resctrl")
	default:
		r.missing("resctrl", "not in /proc/filesystems: neither every processor has it, nor every kernel", means, "nothing, unless a config has linux.intelRdt: then a processor with RDT (or AMD QoS, or MPAM) and a kernel with CONFIG_X86_CPU_RESCTRL or its like")
	}
}

// Filesystem is whether the kernel has a type of filesystem, which it may load
// as a module for who asks, and what was found.
func Filesystem(name string) (found string, ok bool) {
	fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	if err == nil {
		unix.Close(fd)
		return "can be opened", true
	}
	if err == unix.EPERM { // not for us to open, here and now
		data, err := os.ReadFile("/proc/filesystems")
		if err == nil && slices.Contains(strings.Fields(string(data)), name) {
			return "known to the kernel", true
		}
		return "not in /proc/filesystems", false
	}
	return err.Error(), false
}
