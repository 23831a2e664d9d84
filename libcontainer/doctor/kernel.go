package doctor

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/host"
)

// call is a system call that gourd makes, and a way to make it that changes
// nothing: errno says that the kernel has it, but no use for these arguments.
type call struct {
	name  string
	try   func() error
	means string
	// rights is whether the kernel asks first for rights over the mount
	// namespace, so that to others its refusal tells nothing.
	rights bool
}

// calls are those that not every kernel has, or that a sandbox around gourd may
// keep from it.
var calls = []call{
	{"openat2", func() error { _, err := unix.Openat2(-1, "x", &unix.OpenHow{}); return err }, "paths of containers are looked up safely", false},
	{"open_tree", func() error { _, err := unix.OpenTree(-1, "x", 0); return err }, "bind mounts are made by file descriptors", false},
	{"move_mount", func() error { return unix.MoveMount(-1, "x", -1, "x", 0) }, "mounts are put in place by file descriptors", true},
	{"mount_setattr", func() error { return unix.MountSetattr(-1, "x", ^uint(0), &unix.MountAttr{}) }, "mount options, read-only trees, mapped ids", false},
	{"pidfd_open", func() error { _, err := unix.PidfdOpen(-1, 0); return err }, "signals reach the container's process and no other", false},
	{"close_range", func() error { return unix.CloseRange(^uint(0), ^uint(0), 0) }, "no file descriptor leaks into a container", false},
}

// procfs looks whether /proc is what gourd takes it for, and shows what it needs.
func (r *report) procfs() {
	const means = "gourd finds itself, its containers and their processes through it"
	fd, err := linux.HostProc()
	if err == nil {
		unix.Close(fd)
		_, err = os.ReadFile("/proc/sys/kernel/random/boot_id")
	}
	if err == nil {
		_, err = os.Readlink("/proc/self/exe")
	}
	if err == nil {
		r.there("procfs", "at /proc", means)
		return
	}
	r.missing("procfs", err.Error(), means, "mount it, with nothing over it: mount -t proc proc /proc")
	r.needed()
}

func (r *report) kernel() {
	r.area = "kernel"
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		r.there("release", unix.ByteSliceToString(u.Release[:])+" "+unix.ByteSliceToString(u.Machine[:]), "only for you to know: gourd tries things out and looks at no version")
	}
	facts, err := host.Probe()
	privileged := err == nil && !facts.Rootless() && facts.Bounding>>unix.CAP_SYS_ADMIN&1 == 1
	var there, refused []string
	for _, c := range calls {
		switch err := c.try(); err {
		case unix.ENOSYS:
			r.missing(c.name, "the kernel does not know this system call", c.means, "use Linux 5.12 or newer; under another container runtime, allow the call in its seccomp profile")
			r.needed()
		case unix.EPERM:
			if !c.rights || privileged {
				refused = append(refused, c.name)
			}
		default:
			there = append(there, c.name)
		}
	}
	if len(refused) > 0 {
		r.missing("system calls", strings.Join(refused, " ")+": refused (EPERM)", "gourd makes and isolates containers with them", "gourd seems to run in a sandbox: allow these calls in its seccomp profile")
		r.needed()
	}
	if len(there) > 0 {
		r.there("system calls", strings.Join(there, " "), "gourd makes and isolates containers with them")
	}
	switch word("/proc/sys/vm/memfd_noexec") {
	case "2":
		r.restricted("executable memfds", "vm.memfd_noexec is 2: refused", "gourd keeps its binary from containers in a memfd, or else on a tmpfs of its own", "as root nothing; an ordinary user needs vm.memfd_noexec 0 or 1")
	case "":
		r.there("executable memfds", "always allowed by this kernel", "gourd keeps its binary from containers in one")
	default:
		r.there("executable memfds", "vm.memfd_noexec allows them", "gourd keeps its binary from containers in one")
	}
	const means = "linux.memoryPolicy chooses among them"
	if nodes := word("/sys/devices/system/node/has_memory"); nodes != "" {
		r.there("memory nodes", nodes, means)
	} else {
		r.missing("memory nodes", "the kernel tells of none in /sys/devices/system/node", means, "use a kernel with CONFIG_NUMA, if a config has a memory policy")
	}
}
