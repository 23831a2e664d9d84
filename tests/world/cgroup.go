package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A tree is the machine's cgroup v2 hierarchy, reached through a mount that is
// attached nowhere: a hybrid host may show it only below
// /sys/fs/cgroup/unified, or not at all.
type tree struct{ root *os.File }

// openTree mounts cgroup2 without attaching it (fsopen(2), Linux 5.2).
func openTree() (*tree, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen cgroup2: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig cgroup2: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fsmount cgroup2: %w", err)
	}
	return &tree{os.NewFile(uintptr(mnt), "cgroup2")}, nil
}

func (t *tree) Close() error { return t.root.Close() }

// path returns a name for the cgroup that this process alone can use.
func (t *tree) path(cgroup string) string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", t.root.Fd()), cgroup)
}

// make makes a cgroup, with all the controllers that its parent has.
func (t *tree) make(name string) (*os.File, error) {
	if err := EnableControllers(t.path(filepath.Dir(name))); err != nil {
		return nil, err
	}
	if err := os.Mkdir(t.path(name), 0o755); err != nil {
		return nil, err
	}
	return os.Open(t.path(name))
}

// cgroupPrefix begins the name of each world's cgroup; the pid of the test
// binary follows, behind userPrefix for that which holds an ordinary user's worlds.
const (
	cgroupPrefix = "gourd-test-"
	userPrefix   = cgroupPrefix + "user-"
)

// reap removes the cgroups of worlds whose test binary was killed and could not:
// those of a pid that nobody has, with no process in or below them.
func (t *tree) reap() {
	entries, _ := os.ReadDir(t.path("."))
	for _, e := range entries {
		pid, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(e.Name(), userPrefix), cgroupPrefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || !strings.HasPrefix(e.Name(), cgroupPrefix) || unix.Kill(n, 0) != unix.ESRCH {
			continue
		}
		events, err := os.ReadFile(filepath.Join(t.path(e.Name()), "cgroup.events"))
		if err == nil && strings.Contains(string(events), "populated 0") {
			_ = t.remove(e.Name()) // somebody else may be at it
		}
	}
}

// remove removes the cgroup and all below it. No process may be left in it.
func (t *tree) remove(name string) error {
	var errs []error
	for _, dir := range deepestFirst(t.path(name)) {
		if err := os.Remove(dir); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// deepestFirst returns dir and the directories below it, children before
// their parents.
func deepestFirst(dir string) []string {
	var all []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, deepestFirst(filepath.Join(dir, e.Name()))...)
		}
	}
	return append(all, dir)
}

// EnableControllers turns on, for the children of the cgroup at dir, every
// controller that dir has. Threaded and busy ones that refuse are left: the
// condition [cgroup2:NAME] tells a script what it got.
func EnableControllers(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(have)) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
		if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("enable controller %s: %w", c, err)
		}
	}
	return nil
}
