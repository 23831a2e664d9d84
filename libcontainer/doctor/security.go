package doctor

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/features"
	"github.com/gourd-oci/gourd/libcontainer/host"
)

func (r *report) security() {
	r.area = "security"
	r.seccomp()
	facts, err := host.Probe()
	if err != nil {
		return // who has said so
	}
	switch {
	case facts.AppArmor:
		r.there("AppArmor", "enabled", "process.apparmorProfile confines a container")
	default:
		r.missing("AppArmor", "not enabled", "a config with process.apparmorProfile is refused; engines leave it out where it is not enabled", "nothing, unless you want it: boot with apparmor=1 security=apparmor")
	}
	switch enforce := word("/sys/fs/selinux/enforce"); {
	case facts.SELinux && enforce == "1":
		r.there("SELinux", "enforcing", "process.selinuxLabel and linux.mountLabel confine a container")
	case facts.SELinux:
		r.restricted("SELinux", "permissive: it only logs", "labels are set, but confine nobody", "setenforce 1")
	default:
		r.missing("SELinux", "not enabled", "a config with labels is refused; engines leave them out where it is not enabled", "nothing, unless you want it")
	}
	const means = "the annotation run.gourd.landlock can restrict a container's process"
	if facts.Landlock > 0 {
		r.there("Landlock", fmt.Sprintf("ABI %d", facts.Landlock), means)
	} else {
		r.missing("Landlock", "not there, or not enabled", means+"; a config with it is refused", "nothing, unless you want it: use a kernel with CONFIG_SECURITY_LANDLOCK, and boot with landlock in the list of lsm=")
	}
	r.keyring()
}

func (r *report) seccomp() {
	const means = "a container's system calls are filtered (linux.seccomp)"
	flags := features.Supported("", "").Linux.Seccomp.SupportedFlags
	if len(flags) == 0 {
		r.missing("seccomp", "the kernel takes no filter", means+"; a config with a profile is refused", "use a kernel with CONFIG_SECCOMP_FILTER")
		return
	}
	actions := word("/proc/sys/kernel/seccomp/actions_avail")
	short := strings.ReplaceAll(strings.Join(flags, " "), "SECCOMP_FILTER_FLAG_", "")
	r.there("seccomp", "actions: "+actions+"; flags: "+short, means)
}

// keyring asks for the session keyring that a container would get anew.
func (r *report) keyring() {
	const means = "each container has a session keyring of its own"
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EACCES {
		r.missing("keyrings", err.Error(), means, "run gourd with --no-new-keyring, or allow keyctl(2) to it")
		return
	}
	r.there("keyrings", "can be used; "+word("/proc/sys/kernel/keys/maxkeys")+" keys for an ordinary user (kernel.keys.maxkeys)", means)
}
