// Package landlock restricts the container's process by Landlock (landlock(7)),
// as the annotation run.gourd.landlock says. The kernel takes the rules from
// whoever asks, without any privilege beyond no_new_privs, and nobody can take
// them off again.
//
// Compile turns the rules into a Plan, plain data, and finds every defect. In
// the container, Plan.Ruleset makes of it a ruleset, which is a file: the paths
// are looked up there. That the process is restricted by it is package notify's,
// right before the execve, so that none of what init has to do is.
//
// What is restricted depends on the rules alone and not on the kernel: one that
// cannot restrict all of it is an error.
package landlock

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// Rules is what the annotation holds, as JSON. A list that is there restricts,
// also when it is empty; one that is not restricts nothing. The three lists of
// paths restrict together.
type Rules struct {
	// ABI, 1 to MaxABI, restricts only what Landlock could restrict in that
	// version of its interface, for kernels that are older than the rules. Nil:
	// all that gourd knows.
	ABI *int `json:"abi"`
	// ReadOnly is what can be read, ReadWrite what can be read and written,
	// Execute what can be read and executed: files, or directories with all
	// that is below them. Absolute paths in the container.
	ReadOnly  []string `json:"readOnly"`
	ReadWrite []string `json:"readWrite"`
	Execute   []string `json:"execute"`
	// BindTCP and ConnectTCP are the TCP ports that can be bound to and
	// connected to.
	BindTCP    []uint16 `json:"bindTCP"`
	ConnectTCP []uint16 `json:"connectTCP"`
	// Scope is what cannot reach processes outside: "abstractUnixSocket",
	// "signal".
	Scope []string `json:"scope"`
}

// MaxABI is the newest interface of which gourd uses something.
const MaxABI = 6

// right is an access right, or several, and since which ABI there are.
type right struct {
	bits uint64
	abi  int
}

// The rights of files, in the groups of which rules are made.
const (
	readAccess  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writeAccess = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	executeAccess = unix.LANDLOCK_ACCESS_FS_EXECUTE

	// fileAccess is what a rule for something that is no directory may have.
	fileAccess = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// Plan is what Compile returns: all that init needs, as plain data.
type Plan struct {
	// FS, Net and Scoped are what is restricted: LANDLOCK_ACCESS_FS_*,
	// LANDLOCK_ACCESS_NET_* and LANDLOCK_SCOPE_*.
	FS, Net, Scoped uint64
	Paths           []Path
	Ports           []Port
}

// Path allows access to a file, or to a directory and all below it.
type Path struct {
	Where  string // JSON path
	Path   string // absolute, in the container; links are followed
	Access uint64
}

// Port allows access to a TCP port.
type Port struct {
	Where  string
	Port   uint16
	Access uint64
}

// Compile turns r into a Plan for a kernel with this ABI, 0 for one without
// Landlock. Everything that is wrong goes into d, each at its JSON path, which
// begins with at.
func Compile(r *Rules, abi int, at string, d *defect.List) *Plan {
	c := compiler{at: at, kernel: abi, limit: MaxABI, d: d}
	if r.ABI != nil {
		if c.limit = *r.ABI; c.limit < 1 || c.limit > MaxABI {
			d.Add(at+".abi", "%d is not between 1 and %d", *r.ABI, MaxABI)
			return nil
		}
	}
	c.files(r)
	c.ports("bindTCP", r.BindTCP, unix.LANDLOCK_ACCESS_NET_BIND_TCP)
	c.ports("connectTCP", r.ConnectTCP, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP)
	c.scopes(r.Scope)
	if p := &c.plan; !c.asked {
		d.Add(at, "restricts nothing: readOnly, readWrite, execute, bindTCP, connectTCP, scope are all missing")
	} else if p.FS|p.Net|p.Scoped == 0 {
		return nil // a defect has said why
	}
	return &c.plan
}

type compiler struct {
	at     string
	kernel int  // its ABI
	limit  int  // the ABI whose rights are used
	asked  bool // something is restricted
	plan   Plan
	d      *defect.List
}

// needs checks that the rules are within their own ABI, and within the
// kernel's.
func (c *compiler) needs(name string, abi int) bool {
	c.asked = true
	switch {
	case abi > c.limit:
		c.d.Add(c.at+"."+name, "Landlock has it since its ABI %d, and abi is %d", abi, c.limit)
		return false
	case c.kernel == 0:
		c.d.Add(c.at+"."+name, "this kernel has no Landlock, or it is not enabled (CONFIG_SECURITY_LANDLOCK, and landlock in the list of the boot parameter lsm)")
		return false
	case abi > c.kernel:
		c.d.Add(c.at+"."+name, "it takes Landlock's ABI %d, and this kernel has %d", abi, c.kernel)
		return false
	}
	return true
}

// files compiles the three lists of paths.
func (c *compiler) files(r *Rules) {
	lists := [...]struct {
		name   string
		paths  []string
		access uint64
	}{
		{"readOnly", r.ReadOnly, readAccess},
		{"readWrite", r.ReadWrite, readAccess | writeAccess},
		{"execute", r.Execute, readAccess | executeAccess},
	}
	handled, needed := c.handled()
	for _, l := range lists {
		if l.paths == nil {
			continue
		}
		if c.asked = true; c.plan.FS == 0 {
			if needed > c.kernel && c.kernel > 0 {
				c.d.Add(c.at+"."+l.name, "to restrict all that it does takes Landlock's ABI %d, and this kernel has %d (\"abi\": %d restricts what that can)", needed, c.kernel, c.kernel)
				return
			}
			if !c.needs(l.name, needed) {
				return
			}
			c.plan.FS = handled
		}
		for i, path := range l.paths {
			where := fmt.Sprintf("%s.%s[%d]", c.at, l.name, i)
			switch {
			case strings.IndexByte(path, 0) >= 0:
				c.d.Add(where, "%q holds a NUL byte", path)
			case !filepath.IsAbs(path):
				c.d.Add(where, "%q is not an absolute path", path)
			}
			c.plan.Paths = append(c.plan.Paths, Path{where, path, l.access & handled})
		}
	}
}

// handled returns the rights of files up to the ABI of the rules, and since
// which ABI there are all of them.
func (c *compiler) handled() (bits uint64, abi int) {
	bits, abi = readAccess|writeAccess|executeAccess, 1
	for _, newer := range [...]right{
		// Without this one nothing can be moved to another directory at all.
		{unix.LANDLOCK_ACCESS_FS_REFER, 2},
		{unix.LANDLOCK_ACCESS_FS_TRUNCATE, 3},
		{unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, 5},
	} {
		if newer.abi > c.limit {
			bits &^= newer.bits
		} else {
			abi = newer.abi
		}
	}
	return bits, abi
}

func (c *compiler) ports(name string, ports []uint16, access uint64) {
	const sinceABI = 4
	if ports == nil || !c.needs(name, sinceABI) {
		return
	}
	c.plan.Net |= access
	for i, p := range ports {
		c.plan.Ports = append(c.plan.Ports, Port{fmt.Sprintf("%s.%s[%d]", c.at, name, i), p, access})
	}
}

func (c *compiler) scopes(names []string) {
	const sinceABI = 6
	if len(names) == 0 || !c.needs("scope", sinceABI) {
		return
	}
	for i, name := range names {
		switch name {
		case "abstractUnixSocket":
			c.plan.Scoped |= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		case "signal":
			c.plan.Scoped |= unix.LANDLOCK_SCOPE_SIGNAL
		default:
			c.d.Add(fmt.Sprintf("%s.scope[%d]", c.at, i), "%q is neither abstractUnixSocket nor signal", name)
		}
	}
}

// Ruleset makes the ruleset, with the paths as they are below root now. The fd
// is close-on-exec.
func (p *Plan) Ruleset(root int) (fd int, err error) {
	fd, err = linux.LandlockCreate(p.FS, p.Net, p.Scoped)
	if err != nil {
		return -1, fmt.Errorf("make a Landlock ruleset of the rights %#x, %#x, %#x: %w", p.FS, p.Net, p.Scoped, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	for i := range p.Paths {
		if err := p.Paths[i].allow(fd, root); err != nil {
			return -1, err
		}
	}
	for _, port := range p.Ports {
		if err := linux.LandlockAllowPort(fd, port.Port, port.Access); err != nil {
			return -1, fmt.Errorf("%s: allow port %d: %w", port.Where, port.Port, err)
		}
	}
	return fd, nil
}

func (p *Path) allow(ruleset, root int) error {
	fd, err := linux.OpenInRoot(root, p.Path, unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("%s: open %s in the container: %w", p.Where, p.Path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: stat %s: %w", p.Where, p.Path, err)
	}
	access := p.Access
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= fileAccess
	}
	if err := linux.LandlockAllowPath(ruleset, fd, access); err != nil {
		return fmt.Errorf("%s: allow %#x to %s: %w", p.Where, access, p.Path, err)
	}
	return nil
}
