package rootfs

import (
	"sort"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// compileSysctls returns linux.sysctl, sorted by name, after a check that each
// belongs to a namespace of the container's own: any other is the host's.
func compileSysctls(l *specs.Linux, e *Env, d *defect.List) []Sysctl {
	if len(l.Sysctl) == 0 {
		return nil
	}
	out := make([]Sysctl, 0, len(l.Sysctl))
	for name, value := range l.Sysctl {
		out = append(out, Sysctl{Name: name, Value: value})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	for i := range out {
		s := &out[i]
		file, ok := sysctlFile(s.Name)
		if !ok {
			d.Add("linux.sysctl."+s.Name, "not the name of a sysctl")
			continue
		}
		s.File = "sys/" + file
		if why := sysctlRefusal(file, l, e); why != "" {
			d.Add("linux.sysctl."+s.Name, "%s", why)
		}
	}
	return out
}

// sysctlFile returns the file below /proc/sys of a name in either form that
// sysctl(8) takes: what separates first is the separator, and the other of "."
// and "/" stands for a "." in a file's name: net.ipv4.conf.eth0/100.forwarding.
func sysctlFile(name string) (string, bool) {
	first := strings.IndexAny(name, "./")
	if first >= 0 && name[first] == '.' {
		name = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return "", false
		}
	}
	return name, true
}

// sysctlRefusal returns why the sysctl of a file below /proc/sys may not be
// set, or "".
func sysctlRefusal(file string, l *specs.Linux, e *Env) string {
	switch file {
	case "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
		"kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced":
		return needs(l, e, specs.IPCNamespace, unix.CLONE_NEWIPC)
	case "kernel/domainname":
		return needs(l, e, specs.UTSNamespace, unix.CLONE_NEWUTS)
	case "kernel/hostname":
		return "the property hostname is what sets it"
	}
	switch top, _, _ := strings.Cut(file, "/"); {
	case strings.HasPrefix(file, "fs/mqueue/"):
		return needs(l, e, specs.IPCNamespace, unix.CLONE_NEWIPC)
	case top == "net":
		return needs(l, e, specs.NetworkNamespace, unix.CLONE_NEWNET)
	case top == "user":
		// Without a user namespace these are limits of the whole host.
		return needs(l, e, specs.UserNamespace, unix.CLONE_NEWUSER)
	}
	return "belongs to no namespace: it would change the host"
}

func needs(l *specs.Linux, e *Env, t specs.LinuxNamespaceType, flag uintptr) string {
	switch {
	case e.HostNamespaces&flag != 0:
		return "the " + string(t) + " namespace to join is the host's"
	case hasNamespace(l, t):
		return ""
	}
	return "needs its own " + string(t) + " namespace: it would change the host"
}
