package rootfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Mount makes the config's mounts in their order, then, unless /dev is bound
// from the host, the device nodes and symlinks in /dev: they have to be in
// place before the hooks, which may use them. What has to be filled before it
// is read-only stays writable until Finish.
func (r *Root) Mount() error {
	defer trace.Begin("make the mounts").End()
	// Modes are given as they shall be.
	defer unix.Umask(unix.Umask(0))
	for i := range r.plan.Mounts {
		m := &r.plan.Mounts[i]
		if err := r.mount(i, m); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	if r.plan.SetupDev {
		return r.setupDev()
	}
	return nil
}

// mount makes m, which is Mounts[i] of the plan.
func (r *Root) mount(i int, m *Mount) error {
	defer trace.BeginOf("mount", m.Destination).End()
	switch m.Kind {
	case Remount:
		return r.remount(m)
	case Bind:
		return r.bind(i, m)
	}
	return r.filesystem(i, m)
}

// bind mounts a copy of the tree at the source. Its attributes are set while
// it is detached: it is never seen without them.
func (r *Root) bind(i int, m *Mount) error {
	tree, err := r.cloneSource(i, m.Source, m.Recursive)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if m.ProcSource {
		if is, err := linux.IsProcRoot(tree); err != nil {
			return err
		} else if !is {
			return fmt.Errorf("only a procfs can be mounted on /proc, and the source %s is not the root of one", m.Source)
		}
	}
	if m.SysSource {
		if on, err := linux.OnSysfs(tree); err != nil {
			return err
		} else if !on {
			return fmt.Errorf("only a sysfs can be mounted on /sys, and the source %s is none", m.Source)
		}
	}
	if err := setAttrs(tree, m); err != nil {
		return err
	}
	if err := r.mapIDs(i, m, tree); err != nil {
		return err
	}
	target, err := r.pin(m)
	if err == unix.ENOENT {
		target, err = r.makeTarget(m, tree)
	}
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	defer unix.Close(target)
	return attach(m, tree, target)
}

// makeTarget makes a mountpoint of the kind that tree, a bind mount, needs.
func (r *Root) makeTarget(m *Mount, tree int) (int, error) {
	dir, err := isDir(tree)
	if err != nil {
		return -1, err
	}
	if dir {
		return r.makeDir(m.Destination, m.NoSymlinks)
	}
	return r.makeFile(m.Destination)
}

// filesystem mounts a new filesystem.
func (r *Root) filesystem(i int, m *Mount) error {
	target, err := r.pin(m)
	existed := err == nil
	if err == unix.ENOENT {
		target, err = r.makeDir(m.Destination, m.NoSymlinks)
	}
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	defer unix.Close(target)

	params := m.Params
	if m.Type == "tmpfs" && existed && !m.OwnMode {
		// The tmpfs takes the mode of the directory it covers.
		var st unix.Stat_t
		if err := unix.Fstat(target, &st); err != nil {
			return fmt.Errorf("fstat: %w", err)
		}
		params = append([]Param{{Key: "mode", Value: fmt.Sprintf("%o", st.Mode&0o7777)}}, params...)
	}
	var fd int
	if m.Legacy {
		fd, err = r.legacyMount(m, params)
	} else {
		fd, err = linux.NewFilesystem(m.Type, m.Source, params, m.Set)
	}
	if m.Fallback != "" && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY)) {
		// A user namespace that does not own the cgroup or network namespace.
		return r.bind(i, fallback(m))
	}
	if err != nil {
		return r.explain(m, err)
	}
	keep := false
	defer func() {
		if !keep {
			unix.Close(fd)
		}
	}()
	if m.RootLabel != "" {
		if err := labelRoot(fd, m.RootLabel); err != nil {
			return err
		}
	}
	if m.CopyUp {
		if err := copyUp(target, fd); err != nil {
			return fmt.Errorf("tmpcopyup: %w", err)
		}
	}
	if err := r.mapIDs(i, m, fd); err != nil {
		return err
	}
	if err := attach(m, fd, target); err != nil {
		return err
	}
	if m.LateReadonly {
		keep = true
		r.late = append(r.late, lateMount{m, fd})
	}
	return nil
}

// explain adds to an EPERM in a user namespace what the kernel asks of it for
// this type of filesystem (fs/namespace.c, mount_too_revealing, and the types'
// own permission checks).
func (r *Root) explain(m *Mount, err error) error {
	if !errors.Is(err, unix.EPERM) || !r.plan.BindDevices {
		return err
	}
	own := ""
	switch m.Type {
	case "proc":
		own = "pid"
	case "sysfs":
		own = "network"
	case "mqueue":
		return fmt.Errorf("%w (a user namespace gets one only with an ipc namespace of its own)", err)
	default:
		return err
	}
	return fmt.Errorf("%w (a user namespace gets one only with a %s namespace of its own, and where one can be seen that nothing is mounted over)", err, own)
}

// fallback returns the bind mount of m.Fallback that stands in for m. That of
// sysfs brings along what the host has mounted there, with the same flags: in a
// user namespace it cannot be had without.
func fallback(m *Mount) *Mount {
	b := *m
	b.Kind, b.Source, b.Params = Bind, m.Fallback, nil
	if m.Type == "sysfs" {
		b.Recursive, b.RecSet = true, m.Set
	}
	return &b
}

// remount changes the mount at the destination, and its filesystem when there
// are parameters for it.
func (r *Root) remount(m *Mount) error {
	target, err := r.pin(m)
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	defer unix.Close(target)
	if len(m.Params) > 0 {
		if err := linux.Reconfigure(target, m.Params); err != nil {
			return notMounted(err)
		}
	}
	if err := setAttrs(target, m); err != nil {
		return notMounted(err)
	}
	return notMounted(setPropagation(m, target))
}

func notMounted(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remount: %w (is anything mounted there?)", err)
	}
	return err
}

// attach moves the detached mount fd onto target, then sets its propagation:
// not before, since a shared parent makes a mount shared in moving.
func attach(m *Mount, fd, target int) error {
	if err := linux.Attach(fd, target); err != nil {
		if err == unix.ENOTDIR || err == unix.EINVAL {
			if src, dst, ok := kinds(fd, target); ok && src != dst {
				if m.Kind == Bind {
					src = m.Source + " is a " + src
				} else {
					src = "is a " + src
				}
				return fmt.Errorf("the source %s and the destination a %s: %w", src, dst, unix.ENOTDIR)
			}
		}
		return fmt.Errorf("move_mount: %w", linux.NeedsKernel("5.2", err))
	}
	return setPropagation(m, fd)
}

func setPropagation(m *Mount, fd int) error {
	for _, flags := range m.Propagation {
		kind, recursive := propagationType(flags)
		if err := linux.SetMountAttr(fd, recursive, 0, 0, kind); err != nil {
			return fmt.Errorf("set propagation: %w", err)
		}
	}
	return nil
}

// setAttrs sets the attributes that options name, first those of the mount
// alone.
func setAttrs(fd int, m *Mount) error {
	err := linux.SetMountAttr(fd, false, m.Set, m.Clear|m.Unnamed, 0)
	if err == unix.EPERM && m.Unnamed != 0 {
		// In a user namespace the flags that came with the source are locked,
		// all but this one: those stay.
		err = linux.SetMountAttr(fd, false, m.Set, m.Clear|m.Unnamed&unix.MOUNT_ATTR_NOSYMFOLLOW, 0)
	}
	if err == nil {
		err = linux.SetMountAttr(fd, true, m.RecSet, m.RecClear, 0)
	}
	if err == unix.EPERM {
		return fmt.Errorf("mount_setattr: %w (a flag of the source's mount is locked and cannot be cleared in a user namespace)", err)
	}
	if err != nil {
		return fmt.Errorf("mount_setattr: %w", linux.NeedsKernel("5.12", err))
	}
	return nil
}

func isDir(fd int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

func kinds(a, b int) (string, string, bool) {
	da, erra := isDir(a)
	db, errb := isDir(b)
	return kindName(da), kindName(db), erra == nil && errb == nil
}

func kindName(dir bool) string {
	if dir {
		return "directory"
	}
	return "file"
}
