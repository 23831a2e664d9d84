package world

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// A Runtime is the command that the tests drive.
type Runtime struct {
	Path string // absolute
	Kind string // what it calls itself: runc or gourd
}

// FindRuntime returns what $GOURD_RUNTIME names, a path or a name in PATH;
// bin/gourd of this repository where it is unset.
func FindRuntime() (Runtime, error) {
	name := os.Getenv("GOURD_RUNTIME")
	if name == "" {
		name = "../../bin/gourd" // tests run in their package's directory
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return Runtime{}, fmt.Errorf("the runtime under test: %w (make build, or set GOURD_RUNTIME)", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return Runtime{}, err
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return Runtime{}, fmt.Errorf("%s --version: %w", path, err)
	}
	kind, _, _ := strings.Cut(string(out), " ")
	return Runtime{Path: path, Kind: kind}, nil
}

// notYet are the features that gourd is still to get, so that the scripts for
// them are ready: [has:NAME] is false for it.
var notYet = []string{}

// Condition answers what scripts ask in brackets:
//
//	[runc] [gourd]   which runtime is under test
//	[root]           the suite, and so the runtime, is root's
//	[userns]         every bundle has a user namespace (see Way)
//	[rootless]       the same, and the runtime is an ordinary user's
//	[vm]             the machine was made for these tests (make test-vm)
//	[has:FEATURE]    the runtime has it (see notYet)
//	[cgroup2:NAME]   the controller is there
//	[cap:NAME]       the suite may use, and so give, CAP_NAME
//	[fuse]           the suite may serve a filesystem
//	[ns:NAME]        the kernel has this kind of namespace
//	[lsm:NAME]       the security module is enabled: apparmor or selinux
//	[landlock:N]     the kernel has Landlock's ABI N, or a newer one
func (rt Runtime) Condition(cond string) (bool, error) {
	kind, name, _ := strings.Cut(cond, ":")
	switch kind {
	case "runc", "gourd":
		return rt.Kind == kind, nil
	case "root":
		return os.Geteuid() == 0, nil
	case "userns":
		w, err := TheWay()
		return w != AsRoot, err
	case "rootless":
		w, err := TheWay()
		return w == Rootless, err
	case "vm":
		return os.Getenv("GOURD_TEST_VM") != "", nil
	case "has":
		return rt.Kind != "gourd" || !slices.Contains(notYet, name), nil
	case "cgroup2":
		data, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		return slices.Contains(strings.Fields(string(data)), name), err
	case "cap":
		return hasCap(name)
	case "lsm":
		return hasLSM(name)
	case "fuse":
		f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
		if err != nil {
			return false, nil
		}
		return true, f.Close()
	case "landlock":
		abi, err := strconv.Atoi(name)
		return err == nil && linux.LandlockABI() >= abi, err
	case "ns":
		_, err := os.Lstat("/proc/self/ns/" + name)
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// hasLSM tells whether a security module is enabled.
func hasLSM(name string) (bool, error) {
	switch name {
	case "apparmor":
		enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
		return err == nil && strings.HasPrefix(string(enabled), "Y"), nil
	case "selinux":
		_, err := os.Stat("/sys/fs/selinux/enforce")
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown security module %q", name)
}

// hasCap tells whether this process has the capability in its bounding set.
func hasCap(name string) (bool, error) {
	known := map[string]int{
		"sys_admin":    unix.CAP_SYS_ADMIN,
		"sys_nice":     unix.CAP_SYS_NICE,
		"sys_resource": unix.CAP_SYS_RESOURCE,
	}
	c, ok := known[name]
	if !ok {
		return false, fmt.Errorf("unknown capability %q", name)
	}
	r, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
	return r == 1, err
}
