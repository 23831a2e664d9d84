package credentials

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// compileLabels takes the labels of the LSMs that the host has.
func compileLabels(p *specs.Process, e Env, plan *Plan, d *defect.List) {
	if profile := p.ApparmorProfile; profile != "" {
		switch {
		case !e.AppArmor && profile == "unconfined": // so it is
		case !e.AppArmor:
			d.Add("process.apparmorProfile", "%q cannot be applied: AppArmor is not enabled on this host", profile)
		case strings.ContainsAny(profile, "\x00\n"):
			d.Add("process.apparmorProfile", "%q is not a profile's name", profile)
		default:
			plan.AppArmorProfile = profile
		}
	}
	if label := p.SelinuxLabel; label != "" {
		switch {
		case !e.SELinux:
			d.Add("process.selinuxLabel", "%q cannot be applied: SELinux is not enabled on this host", label)
		case strings.IndexByte(label, 0) >= 0:
			d.Add("process.selinuxLabel", "%q has a NUL byte in it", label)
		case slices.Contains(e.UnknownLabels, label):
			d.Add("process.selinuxLabel", "%q is no context of the SELinux policy that is loaded", label)
		default:
			plan.SELinuxLabel = label
		}
	}
}

// ExecLabels tells the LSMs under which label the next execve of this thread
// runs: a profile that is not loaded shows here, and not at the execve. It
// writes through a procfs that is known to be real, for the container's own
// /proc may be made to look like one (CVE-2019-16884) or to redirect the write
// (CVE-2025-52881). It comes before Apply, which drops the right to mount one.
func (p *Plan) ExecLabels() error {
	if p.AppArmorProfile == "" && p.SELinuxLabel == "" {
		return nil
	}
	proc, err := linux.PrivateProc()
	if err != nil {
		return fmt.Errorf("set the exec label: %w", err)
	}
	defer unix.Close(proc)
	if p.SELinuxLabel != "" {
		if err := writeAttr(proc, "exec", p.SELinuxLabel); err != nil {
			return fmt.Errorf("process.selinuxLabel: set %q: %w", p.SELinuxLabel, err)
		}
	}
	if p.AppArmorProfile != "" {
		text := "exec " + p.AppArmorProfile
		err := writeAttr(proc, "apparmor/exec", text)
		if err == unix.ENOENT && !attrExists(proc, "apparmor") {
			err = writeAttr(proc, "exec", text) // before Linux 5.8
		}
		if err != nil {
			return p.AppArmorError(err)
		}
	}
	return nil
}

// AppArmorError returns the error of a profile that could not be set.
func (p *Plan) AppArmorError(err error) error {
	if err == unix.ENOENT {
		err = fmt.Errorf("%w (the profile is not loaded)", err)
	}
	return fmt.Errorf("process.apparmorProfile: set %q: %w", p.AppArmorProfile, err)
}

// ownTask returns the calling thread's directory in a procfs, as the procfs
// itself has it, for its pid namespace may be another than the caller's. What
// it says is not trusted to be more than a directory of a thread, and of
// another thread's the kernel lets nobody write the labels.
func ownTask(proc int) (string, error) {
	dir, err := linux.Readlinkat(proc, "thread-self")
	if err != nil {
		return "", fmt.Errorf("find the thread in procfs: %w", err)
	}
	f := strings.Split(dir, "/")
	if len(f) != 3 || !isNumber(f[0]) || f[1] != "task" || !isNumber(f[2]) {
		return "", fmt.Errorf("find the thread in procfs: thread-self is %q", dir)
	}
	return dir, nil
}

// writeAttr writes one of the calling thread's LSM attributes (proc_pid_attr(5))
// in one write, as the kernel wants it. An errno is returned as it is.
func writeAttr(proc int, name, value string) error {
	task, err := ownTask(proc)
	if err != nil {
		return err
	}
	fd, err := linux.OpenBeneath(proc, task+"/attr/"+name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(value))
	return err
}

func attrExists(proc int, name string) bool {
	task, err := ownTask(proc)
	if err != nil {
		return false
	}
	fd, err := linux.OpenBeneath(proc, task+"/attr/"+name, unix.O_PATH)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// writeOwnAttr is writeAttr on the host's /proc, before the root is changed.
func writeOwnAttr(name, value string) error {
	proc, err := linux.HostProc()
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	if err := writeAttr(proc, name, value); err != nil {
		return fmt.Errorf("write attr/%s of the thread in /proc: %w", name, err)
	}
	return nil
}

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
