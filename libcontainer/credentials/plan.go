// Package credentials gives the container's process what it is: its ids,
// groups and umask, working directory, environment and program, capabilities,
// rlimits, oom score, scheduling, session keyring, LSM labels and
// no_new_privs.
//
// Compile turns the config into a Plan, plain data, and finds every defect
// without touching anything. The methods of Plan apply it inside the
// container's init, on its locked thread, in this order: Early, ExecLabels,
// Apply, Resolve, LowerLimits. All of it changes the calling thread alone, for
// it is that thread that executes the process, and init's other threads, which
// have no work and no code of the container's, end there.
//
// The package makes no namespaces, writes no id maps, and loads no seccomp
// filter.
package credentials

import (
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// Env is what Compile has to know beyond the config.
type Env struct {
	// Bounding is the capabilities that gourd itself may have, bit n for
	// capability n: its bounding set. None but these can be granted, except in
	// a user namespace, where all can.
	Bounding uint64
	// LastCap is the number of the last capability that the kernel knows.
	LastCap int
	// AppArmor and SELinux are whether the host has that LSM enabled.
	AppArmor, SELinux bool
	// UnknownLabels are labels that SELinux's policy does not have.
	UnknownLabels []string
	// NewUserNS and JoinedUserNS are whether the container's user namespace is
	// made for it, or an existing one that it joins.
	NewUserNS, JoinedUserNS bool
	// Root is whether the runtime is root: what the process may not do to itself
	// in its user namespace the runtime then does from outside.
	Root bool
	// SetgroupsDenied is whether the process's user namespace is known to have
	// "deny" in /proc/PID/setgroups (user_namespaces(7)).
	SetgroupsDenied bool
	// HasSeccomp is whether a seccomp filter is loaded before the execve.
	HasSeccomp bool
	// Landlock is the JSON path that asks for Landlock rules, which the process
	// is put under before the execve; empty: none.
	Landlock string
	// ID is the container's id; the session keyring is named for it.
	ID string
	// NoNewKeyring is --no-new-keyring: the caller's session keyring stays.
	NoNewKeyring bool
}

// Plan is what Compile returns: all that init needs, as plain data.
type Plan struct {
	Args []string
	Env  []string // each name once, none empty; Resolve adds HOME
	Cwd  string   // absolute, in the container

	UID, GID        uint32
	Groups          []uint32 // the supplementary groups, exactly
	UserNS          bool     // the process is in another user namespace than gourd
	SetgroupsDenied bool     // its user namespace has no setgroups(2)
	Umask           uint32

	Capabilities    Capabilities
	KeepSysAdmin    bool // until the execve: seccomp and Landlock need it
	NoNewPrivileges bool

	Rlimits     []Rlimit
	OOMScoreAdj *int
	Scheduler   *Scheduler
	IOPriority  *IOPriority
	// FromOutside is whether the runtime sets scheduler and I/O priority, by
	// SetScheduling, when the process has said Ready: real time and the like take
	// CAP_SYS_NICE over the host.
	FromOutside bool
	Personality *uint32 // of personality(2)
	// MemoryPolicy is nil where that of gourd is inherited.
	MemoryPolicy *MemoryPolicy

	Keyring         string // name of the new session keyring; "" for none
	AppArmorProfile string
	SELinuxLabel    string
}

// Compile turns process, linux.personality and linux.memoryPolicy into a Plan. It adds a defect
// for what is invalid and cannot be done, and returns a warning for each
// capability that cannot be granted: with those the container runs without, as
// config.md has it. A nil process is spec.Check's defect and gives no Plan.
// For the process of an `exec`, s is the container's config.
func Compile(p *specs.Process, s *specs.Spec, e Env, d *defect.List) (Plan, []string) {
	if p == nil {
		return Plan{}, nil
	}
	plan := Plan{
		Args:            p.Args,
		Cwd:             p.Cwd,
		UID:             p.User.UID,
		GID:             p.User.GID,
		Groups:          p.User.AdditionalGids,
		UserNS:          e.NewUserNS || e.JoinedUserNS,
		FromOutside:     e.Root && (e.NewUserNS || e.JoinedUserNS) && (p.Scheduler != nil || p.IOPriority != nil),
		SetgroupsDenied: e.SetgroupsDenied,
		Umask:           0o022, // not the caller's, as config.md would have it: no runtime does that
		NoNewPrivileges: p.NoNewPrivileges,
	}
	checkArgs(p.Args, d)
	checkCwd(p.Cwd, d)
	plan.Env = compileEnv(p.Env, d)
	if p.User.Umask != nil {
		if plan.Umask = *p.User.Umask; plan.Umask > 0o777 {
			d.Add("process.user.umask", "%#o has more than permission bits", plan.Umask)
		}
	}
	checkUser(p.User, s, e, d)
	var warnings []string
	plan.Capabilities, warnings = compileCapabilities(p.Capabilities, e)
	if !p.NoNewPrivileges {
		can := e.grantable()&(1<<unix.CAP_SYS_ADMIN) != 0
		plan.KeepSysAdmin = e.HasSeccomp || e.Landlock != ""
		if e.HasSeccomp && !can {
			d.Add("linux.seccomp", "without process.noNewPrivileges only CAP_SYS_ADMIN can load a filter, and gourd itself does not have it")
		}
		if e.Landlock != "" && !can {
			d.Add(e.Landlock, "without process.noNewPrivileges only CAP_SYS_ADMIN can put a process under Landlock rules, and gourd itself does not have it")
		}
	}
	plan.Rlimits = compileRlimits(p.Rlimits, d)
	plan.OOMScoreAdj = compileOOM(p.OOMScoreAdj, d)
	plan.Scheduler = compileScheduler(p.Scheduler, d)
	plan.IOPriority = compileIOPriority(p.IOPriority, d)
	if s != nil && s.Linux != nil {
		plan.Personality = compilePersonality(s.Linux.Personality, d)
		plan.MemoryPolicy = compileMemoryPolicy(s.Linux.MemoryPolicy, d)
	}
	if !e.NoNewKeyring {
		plan.Keyring = "_ses." + e.ID
	}
	compileLabels(p, e, &plan, d)
	return plan, warnings
}

func checkArgs(args []string, d *defect.List) {
	if len(args) == 0 || args[0] == "" {
		d.Add("process.args", "missing: the first entry names the program to execute")
	}
	for i, a := range args {
		if strings.IndexByte(a, 0) >= 0 {
			d.Add(fmt.Sprintf("process.args[%d]", i), "%q has a NUL byte in it", a)
		}
	}
}

func checkCwd(cwd string, d *defect.List) {
	switch {
	case cwd == "":
		d.Add("process.cwd", "missing or empty")
	case !path.IsAbs(cwd):
		d.Add("process.cwd", "%q is not an absolute path", cwd)
	case strings.IndexByte(cwd, 0) >= 0:
		d.Add("process.cwd", "%q has a NUL byte in it", cwd)
	}
}
