package doctor

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
)

// kinds are the types of namespaces by their names in a config.json.
var kinds = []struct {
	name, limit string
	flag        uintptr
	means       string
}{
	{"mount", "mnt", unix.CLONE_NEWNS, "a container has a root filesystem and mounts of its own"},
	{"pid", "pid", unix.CLONE_NEWPID, "a container sees only its own processes"},
	{"network", "net", unix.CLONE_NEWNET, "a container has network devices of its own"},
	{"ipc", "ipc", unix.CLONE_NEWIPC, "a container has System V IPC and message queues of its own"},
	{"uts", "uts", unix.CLONE_NEWUTS, "a container has a host name of its own"},
	{"cgroup", "cgroup", unix.CLONE_NEWCGROUP, "a container sees its cgroup as the root"},
	{"time", "time", unix.CLONE_NEWTIME, "a container's clocks may be shifted"},
	{"user", "user", unix.CLONE_NEWUSER, "a container's root is nobody outside; ordinary users can run containers"},
}

// Try makes namespaces of these CLONE_NEW… flags with a program in them, and
// returns what the kernel says. An ordinary user's are made with a user
// namespace, as there is no other way.
func (p Program) Try(flags uintptr) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	uid, gid := os.Geteuid(), os.Getegid()
	if uid != 0 {
		flags |= unix.CLONE_NEWUSER
	}
	fd := int(null.Fd())
	r := nsenter.Request{New: flags, CgroupFD: -1, Exe: p.Exe, Args: p.Args, Stdio: [3]int{fd, fd, fd}}
	if flags&unix.CLONE_NEWUSER != 0 {
		r.UIDMaps = []nsenter.IDMap{{Inside: 0, Outside: uint32(uid), Size: 1}}
		r.GIDMaps = []nsenter.IDMap{{Inside: 0, Outside: uint32(gid), Size: 1}}
		r.DenySetgroups = uid != 0
	}
	c, err := nsenter.Start(r)
	if err != nil {
		return err
	}
	defer c.PIDFD.Close()
	for {
		if _, err := unix.Wait4(c.PID, nil, unix.WALL, nil); err != unix.EINTR {
			return err
		}
	}
}

func (r *report) namespaces(p Program) {
	r.area = "namespaces"
	for _, k := range kinds {
		if _, err := os.Lstat("/proc/self/ns/" + k.limit); err != nil {
			r.missing(k.name, "the kernel has none of this type", k.means, "use a kernel that was built with it; a config that asks for one is refused")
		} else if err := p.Try(k.flag); err != nil {
			found, do := refusal(k.limit, err)
			r.missing(k.name, found, k.means, do)
		} else {
			r.there(k.name, "can be made", k.means)
			continue
		}
		if k.flag == unix.CLONE_NEWNS || k.flag == unix.CLONE_NEWUSER && os.Geteuid() != 0 {
			r.needed()
		}
	}
}

// refusal explains why a namespace could not be made.
func refusal(limit string, err error) (found, do string) {
	found = err.Error()
	sysctl := "user.max_" + limit + "_namespaces"
	if word("/proc/sys/"+strings.Replace(sysctl, ".", "/", 1)) == "0" {
		return sysctl + " is 0", "sysctl -w " + sysctl + "=10000"
	}
	if os.Geteuid() != 0 || limit == "user" {
		if word("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
			return found + " (kernel.unprivileged_userns_clone is 0)", "sysctl -w kernel.unprivileged_userns_clone=1"
		}
		if word("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
			return found + " (kernel.apparmor_restrict_unprivileged_userns is 1)", "give gourd an AppArmor profile that allows userns, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
		}
		return found, "is gourd in a container or a sandbox? It must allow user namespaces (user.max_user_namespaces, seccomp)"
	}
	return found, "run gourd as root, with CAP_SYS_ADMIN"
}
