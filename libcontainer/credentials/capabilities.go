package credentials

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Capabilities are the five sets of a process (capabilities(7)), bit n for
// capability n. Effective is a subset of Permitted, and Ambient of Permitted
// and Inheritable.
type Capabilities struct {
	Bounding, Effective, Permitted, Inheritable, Ambient uint64
	LastCap                                              int // of the kernel
}

// capNames are the capabilities by number (linux/capability.h).
var capNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// CapabilityNames returns the capabilities that gourd knows, by number, as
// `features` lists them.
func CapabilityNames() []string { return append([]string(nil), capNames[:]...) }

func capNumber(name string) int {
	for i, n := range capNames {
		if n == name {
			return i
		}
	}
	return -1
}

// grantable returns the capabilities that a process of the container can get.
func (e *Env) grantable() uint64 {
	all := uint64(1)<<(e.LastCap+1) - 1
	if e.NewUserNS || e.JoinedUserNS {
		return all // whoever enters a user namespace has all of them, over it
	}
	return e.Bounding & all
}

// compileCapabilities works out the five sets. Without capabilities in the
// config they are empty, the bounding set too.
func compileCapabilities(c *specs.LinuxCapabilities, e Env) (Capabilities, []string) {
	out := Capabilities{LastCap: e.LastCap}
	if c == nil {
		return out, nil
	}
	w := capWarnings{}
	grant := e.grantable()
	read := func(set string, names []string) uint64 {
		var bits uint64
		for _, name := range names {
			switch n := capNumber(name); {
			case n < 0:
				w.add(name, set, "gourd does not know it")
			case n > e.LastCap:
				w.add(name, set, "this kernel does not have it")
			case grant&(1<<n) == 0:
				w.add(name, set, "it is not in the bounding set that gourd was started with")
			default:
				bits |= 1 << n
			}
		}
		return bits
	}
	out.Bounding = read("bounding", c.Bounding)
	out.Permitted = read("permitted", c.Permitted)
	out.Inheritable = read("inheritable", c.Inheritable)
	out.Effective = read("effective", c.Effective)
	out.Ambient = read("ambient", c.Ambient)

	// The kernel's own rules (capset(2), PR_CAP_AMBIENT_RAISE of prctl(2)).
	w.addBits(out.Effective&^out.Permitted, "effective", "it is not permitted")
	out.Effective &= out.Permitted
	w.addBits(out.Ambient&^(out.Permitted&out.Inheritable), "ambient", "it is not both permitted and inheritable")
	out.Ambient &= out.Permitted & out.Inheritable
	return out, w.list()
}

// capWarnings collects what cannot be granted: a capability is usually asked
// for in several sets, and told once.
type capWarnings []struct{ name, sets, why string }

func (w *capWarnings) add(name, set, why string) {
	for i := range *w {
		if have := &(*w)[i]; have.name == name && have.why == why {
			if !strings.HasSuffix(have.sets, set) { // else listed twice in one set
				have.sets += ", " + set
			}
			return
		}
	}
	*w = append(*w, struct{ name, sets, why string }{name, set, why})
}

func (w *capWarnings) addBits(bits uint64, set, why string) {
	for n, name := range capNames {
		if bits&(1<<n) != 0 {
			w.add(name, set, why)
		}
	}
}

// list tells of those that the same is wrong with in one line: buildah, for one,
// asks for all of its capabilities in the ambient set at every RUN.
func (w capWarnings) list() []string {
	var out []string
	for i, e := range w {
		var names []string
		for j, o := range w {
			if o.sets == e.sets && o.why == e.why {
				if j < i {
					break // told with that one
				}
				names = append(names, o.name)
			}
		}
		switch {
		case len(names) == 0:
		case e.sets == "ambient": // in the words that are known from runc
			out = append(out, fmt.Sprintf("process.capabilities: can't raise ambient capability %s: %s", strings.Join(names, ", "), e.why))
		default:
			out = append(out, fmt.Sprintf("process.capabilities: %s cannot be granted (%s): %s", strings.Join(names, ", "), e.sets, e.why))
		}
	}
	return out
}

// raiseInheritable and dropBounding set the two sets that need CAP_SETPCAP,
// before the ids change. Inheritable comes first, for nothing can be added to
// it that is no longer in the bounding set.
func (c *Capabilities) raiseInheritable() error {
	have, err := linux.ThreadCaps()
	if err != nil {
		return fmt.Errorf("process.capabilities: read the thread's: %w", err)
	}
	if have.Inheritable == c.Inheritable {
		return nil
	}
	have.Inheritable = c.Inheritable
	if err := linux.SetThreadCaps(have); err != nil {
		return fmt.Errorf("process.capabilities.inheritable: set %#x: %w", c.Inheritable, err)
	}
	return nil
}

func (c *Capabilities) dropBounding() error {
	for n := 0; n <= c.LastCap; n++ {
		if c.Bounding&(1<<n) != 0 {
			continue
		}
		if err := linux.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0); err != nil {
			if has, rerr := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); rerr == nil && has == 0 {
				continue // it is not there to be dropped
			}
			return fmt.Errorf("process.capabilities.bounding: drop capability %d: %w", n, err)
		}
	}
	return nil
}

// set sets the three sets of capset(2) to exactly these, and extra beyond them
// permitted and effective, and then the ambient set.
func (c *Capabilities) set(extra uint64) error {
	err := linux.SetThreadCaps(linux.Caps{
		Effective:   c.Effective | extra,
		Permitted:   c.Permitted | extra,
		Inheritable: c.Inheritable,
	})
	if err != nil {
		return fmt.Errorf("process.capabilities: set permitted %#x, effective %#x, inheritable %#x: %w",
			c.Permitted|extra, c.Effective|extra, c.Inheritable, err)
	}
	// None that the caller had may remain (CVE-2016-8867).
	if err := linux.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("process.capabilities.ambient: clear: %w", err)
	}
	for n := 0; n <= c.LastCap; n++ {
		if c.Ambient&(1<<n) == 0 {
			continue
		}
		if err := linux.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n)); err != nil {
			return fmt.Errorf("process.capabilities.ambient: raise capability %d: %w", n, err)
		}
	}
	return nil
}
