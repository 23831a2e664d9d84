// Package host tells what this process has of the kernel and the host: the
// facts that a plan depends on. It reads, once and only when asked, and never
// compares version numbers; whether a call exists is found out by calling it.
package host

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Facts is what was found. It is plain data, so that a plan can be built for
// a made-up host in a test.
type Facts struct {
	// EUID is the effective user id of this process.
	EUID int
	// InitialUserNS is whether this process is in the initial user namespace.
	InitialUserNS bool
	// SetgroupsDenied is whether this process's user namespace was made without
	// setgroups(2), as unshare -r and an ordinary user make it; those made in it
	// inherit that (user_namespaces(7)).
	SetgroupsDenied bool
	// Bounding is the capability bounding set, bit n for capability n.
	Bounding uint64
	// LastCap is the number of the last capability that the kernel knows.
	LastCap int
	// AppArmor and SELinux are whether that LSM is enabled.
	AppArmor, SELinux bool
	// UnknownContexts are what AskSELinux has found.
	UnknownContexts []string
	// Landlock is the version of its interface; 0 without it.
	Landlock int
}

// Probe reads the facts. It costs a few small files of /proc and two of /sys.
func Probe() (*Facts, error) {
	defer trace.Begin("look at the host").End()
	f := &Facts{EUID: os.Geteuid(), LastCap: -1}
	var err error
	if f.InitialUserNS, err = linux.InInitialUserNS(); err != nil {
		return nil, err
	}
	if !f.InitialUserNS {
		groups, err := linux.ReadFile("/proc/self/setgroups")
		if err != nil && !errors.Is(err, unix.ENOENT) { // there is none before Linux 3.19
			return nil, fmt.Errorf("probe the user namespace: %w", err)
		}
		f.SetgroupsDenied = strings.HasPrefix(string(groups), "deny")
	}
	for c := range 64 {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break // EINVAL: the kernel knows no such capability
		}
		f.LastCap = c
		f.Bounding |= uint64(in) << c
	}
	enabled, err := linux.ReadFile("/sys/module/apparmor/parameters/enabled")
	f.AppArmor = err == nil && strings.HasPrefix(string(enabled), "Y")
	var st unix.Statfs_t
	f.SELinux = unix.Statfs(linux.SELinuxDir, &st) == nil && uint32(st.Type) == unix.SELINUX_MAGIC
	f.Landlock = linux.LandlockABI()
	return f, nil
}

// Rootless is whether gourd lacks the initial user namespace's root: for an
// ordinary user, and for root of a namespace of its own.
func (f *Facts) Rootless() bool { return f.EUID != 0 || !f.InitialUserNS }
