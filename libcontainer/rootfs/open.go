package rootfs

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Root is the root of a container while init sets it up. Its methods are for
// one goroutine, locked to its thread.
type Root struct {
	plan    *Plan
	runtime Runtime
	fd      int // O_PATH, the root of the container's root mount
	proc    int // root of a private procfs, or -1 when there is no sysctl to write
	late    []lateMount

	made    []Made // see Made
	mountID uint64 // of the root's mount, 0 while it is not known
}

// lateMount is a mount to be made read-only at the end.
type lateMount struct {
	m  *Mount
	fd int
}

// Open begins the set-up, in the container's own mount namespace. What init may
// not do itself, here and in Mount, rt does. The other methods follow in this order: Mount, then the runtime's hooks and createContainer's;
// Pivot; Console, if there is a terminal; WriteSysctls; Finish; Close. After
// an error, only Close: the mount namespace is to be thrown away, or the runtime
// takes away what is on root.path.
//
// Propagation comes first, as from there on nothing that is mounted may reach
// the host. Then the root filesystem is cloned, with the mounts below it, and
// attached where it lies: pivot_root(2) wants a mount, whose parent is not
// shared. The private procfs for sysctls is made now, because the kernel gives
// one to a user namespace only while an unmasked one can be seen.
func Open(p *Plan, rt Runtime) (_ *Root, err error) {
	defer trace.Begin("open the root filesystem").End()
	var undo cleanup.Stack
	defer undo.On(&err)

	if p.Whole {
		return openWhole(p)
	}
	if !p.Shared {
		if err := setHostPropagation(p.Propagation); err != nil {
			return nil, err
		}
	}
	place, err := openPlace(p, rt)
	if err != nil {
		return nil, err
	}
	defer unix.Close(place)
	if !p.Shared && (p.Propagation != 0 && p.Propagation&unix.MS_REC == 0 || p.Propagation&unix.MS_SHARED != 0) {
		if err := unshareParent(place, topPropagation(p.Propagation)); err != nil {
			return nil, fmt.Errorf("root.path %s: %w", p.Rootfs, err)
		}
	}

	r := &Root{plan: p, runtime: rt, fd: -1, proc: -1}
	undo.Add("close the root", r.Close)
	if r.fd, err = linux.CloneTree(place, "", true); err != nil {
		return nil, fmt.Errorf("root.path %s: open_tree: %w", p.Rootfs, linux.NeedsKernel("5.12", err))
	}
	if err := linux.SetMountAttr(r.fd, false, 0, 0, topPropagation(p.Propagation)); err != nil {
		return nil, fmt.Errorf("root.path %s: set propagation: %w", p.Rootfs, linux.NeedsKernel("5.12", err))
	}
	if err := linux.Attach(r.fd, place); err != nil {
		return nil, fmt.Errorf("root.path %s: move_mount: %w", p.Rootfs, err)
	}
	if p.Shared {
		// Attached to a shared mount it has become one, and its mounts would
		// show up wherever else that one is.
		if err := linux.SetMountAttr(r.fd, true, 0, 0, topPropagation(p.Propagation)); err != nil {
			return nil, fmt.Errorf("root.path %s: set propagation: %w", p.Rootfs, err)
		}
	}
	if err := r.openProc(); err != nil {
		return nil, err
	}
	undo.Release()
	return r, nil
}

// openWhole is Open where the root is that of a joined mount namespace.
func openWhole(p *Plan) (*Root, error) {
	fd, err := openRootfs(p)
	if err != nil {
		return nil, err
	}
	r := &Root{plan: p, fd: fd, proc: -1}
	if err := r.openProc(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openProc makes the private procfs if there is a sysctl to write.
func (r *Root) openProc() error {
	if len(r.plan.Sysctls) == 0 {
		return nil
	}
	var err error
	if r.proc, err = linux.PrivateProc(); err != nil {
		return fmt.Errorf("procfs for linux.sysctl: %w", err)
	}
	return nil
}

// FD returns the file descriptor of the container's root, which Close closes.
func (r *Root) FD() int { return r.fd }

// Close closes what r holds open; the mounts stay. Closing twice is harmless.
func (r *Root) Close() error {
	for _, fd := range [...]*int{&r.fd, &r.proc} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	for _, l := range r.late {
		unix.Close(l.fd)
	}
	r.late = nil
	return nil
}

// setHostPropagation cuts the mounts of the namespace off from those of the
// host, in the way that rootfsPropagation asks for: by default what the host
// mounts later still comes in, and nothing goes out.
func setHostPropagation(flags uint64) error {
	switch {
	case flags == 0:
		flags = unix.MS_SLAVE | unix.MS_REC
	case flags&unix.MS_UNBINDABLE != 0:
		// What is meant is the container's root; the host's mounts are yet
		// to be bound.
		flags = unix.MS_PRIVATE | flags&unix.MS_REC
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer unix.Close(root)
	kind, recursive := propagationType(flags)
	if err := linux.SetMountAttr(root, recursive, 0, 0, kind); err != nil {
		return fmt.Errorf("linux.rootfsPropagation: mount_setattr /: %w", linux.NeedsKernel("5.12", err))
	}
	return nil
}

// topPropagation is the type of the container's root mount until Pivot, and of
// the mount that it is attached to: never shared.
func topPropagation(flags uint64) uint64 {
	if flags&unix.MS_SLAVE != 0 {
		return unix.MS_SLAVE
	}
	return unix.MS_PRIVATE
}

// openRootfs opens the directory root.path. The bundle is where the caller
// says it is; from there on, or all the way when root.path is absolute, no
// part may be a symlink, which whoever made the bundle's contents could point
// elsewhere.
func openRootfs(p *Plan) (int, error) { return openRootfsIn(unix.AT_FDCWD, p) }

// openRootfsIn is openRootfs in the root directory root, or the caller's own
// for AT_FDCWD.
func openRootfsIn(root int, p *Plan) (int, error) {
	dir, path := root, p.Rootfs
	if rest, ok := strings.CutPrefix(path, p.Bundle+"/"); ok && p.Bundle != "" {
		path = rest
	}
	if !filepath.IsAbs(path) {
		bundle, err := openIn(root, p.Bundle, 0)
		if err != nil {
			return -1, fmt.Errorf("open bundle %s: %w", p.Bundle, err)
		}
		defer unix.Close(bundle)
		dir = bundle
	}
	fd, err := openIn(dir, path, unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ELOOP {
		return -1, fmt.Errorf("root.path %s: is a symlink, or below one: %w", p.Rootfs, err)
	}
	if err != nil {
		return -1, fmt.Errorf("root.path %s: %w", p.Rootfs, linux.NeedsKernel("5.6", err))
	}
	return fd, nil
}

// openIn opens the directory at path: in the root directory root if path is
// absolute, unless root is AT_FDCWD, and relative to it else.
func openIn(root int, path string, resolve uint64) (int, error) {
	switch {
	case filepath.IsAbs(path) && root != unix.AT_FDCWD:
		return linux.OpenInRoot(root, path, unix.O_PATH|unix.O_DIRECTORY, resolve)
	case resolve&unix.RESOLVE_NO_SYMLINKS != 0:
		return linux.OpenNoSymlinks(root, path, unix.O_PATH|unix.O_DIRECTORY)
	}
	return linux.Openat(root, path, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// unshareParent sets the propagation of the mount that dir lies on, which it
// finds by going up to that mount's root: only there the kernel takes it.
func unshareParent(dir int, kind uint64) error {
	fd, err := unix.Dup(dir)
	if err != nil {
		return fmt.Errorf("dup: %w", err)
	}
	defer func() { unix.Close(fd) }()
	var last unix.Stat_t
	for {
		err := linux.SetMountAttr(fd, false, 0, 0, kind)
		if err != unix.EINVAL {
			if err != nil {
				return fmt.Errorf("set propagation of the mount it lies on: %w", err)
			}
			return nil
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("fstat: %w", err)
		}
		if st.Dev == last.Dev && st.Ino == last.Ino {
			return fmt.Errorf("set propagation of the mount it lies on: %w", unix.EINVAL)
		}
		last = st
		up, err := linux.Openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("open parent directory: %w", err)
		}
		unix.Close(fd)
		fd = up
	}
}
