package rootfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Finish closes the root filesystem: mounts that had to be filled first become
// read-only, then the root itself, then readonlyPaths; maskedPaths come after
// them, over them. Paths that do not exist are left out, as the spec wants. It
// follows WriteSysctls and Console, which still write. When nothing is to be
// mounted any more, the root gets the propagation that was asked for.
func (r *Root) Finish() error {
	defer trace.Begin("make paths read-only, and mask them").End()
	for _, l := range r.late {
		if err := linux.SetMountAttr(l.fd, false, unix.MOUNT_ATTR_RDONLY, 0, 0); err != nil {
			return fmt.Errorf("%s: make it read-only: %w", l.m, err)
		}
	}
	if r.plan.Readonly {
		if err := linux.SetMountAttr(r.fd, false, unix.MOUNT_ATTR_RDONLY, 0, 0); err != nil {
			return fmt.Errorf("root.readonly: %w", err)
		}
	}
	for _, path := range r.plan.ReadonlyPaths {
		if err := r.makeReadonly(path); err != nil {
			return fmt.Errorf("linux.readonlyPaths (%s): %w", path, err)
		}
	}
	if err := r.mask(); err != nil {
		return err
	}
	return r.propagate()
}

// propagate makes the container's root shared or unbindable; the rest Open has
// done. Pivot does not take a shared one, and of an unbindable one nothing can be
// mounted on itself to be read-only, and no terminal bound.
func (r *Root) propagate() error {
	kind, recursive := propagationType(r.plan.Propagation)
	if kind&(unix.MS_SHARED|unix.MS_UNBINDABLE) == 0 {
		return nil
	}
	if err := linux.SetMountAttr(r.fd, recursive, 0, 0, kind); err != nil {
		return fmt.Errorf("linux.rootfsPropagation: %w", err)
	}
	return nil
}

// lookup opens a path of the container, O_PATH, following symlinks inside the
// root. missing is true when there is nothing.
func (r *Root) lookup(path string) (fd int, missing bool, err error) {
	fd, err = linux.OpenInRoot(r.fd, path, unix.O_PATH, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return -1, true, nil
	}
	return fd, false, err
}

// makeReadonly mounts path on itself, with what is mounted below, and makes
// that mount read-only; its other flags, and the mounts below, keep theirs.
func (r *Root) makeReadonly(path string) error {
	target, missing, err := r.lookup(path)
	if missing || err != nil {
		return err
	}
	defer unix.Close(target)
	tree, err := linux.CloneTree(target, "", true)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(tree)
	if err := linux.SetMountAttr(tree, false, unix.MOUNT_ATTR_RDONLY, 0, 0); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	if err := linux.Attach(tree, target); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// masker covers paths: files with the container's /dev/null, directories with
// one empty read-only tmpfs. Both are opened when they are first needed.
type masker struct {
	root  *Root
	null  int
	empty int // attached by its first use: only then the kernel clones it
}

func (r *Root) mask() error {
	defer trace.Begin("mask paths").End()
	if len(r.plan.MaskedPaths) == 0 {
		return nil
	}
	m := masker{root: r, null: -1, empty: -1}
	defer m.close()
	for _, path := range r.plan.MaskedPaths {
		if err := m.cover(path); err != nil {
			return fmt.Errorf("linux.maskedPaths (%s): %w", path, err)
		}
	}
	return nil
}

func (m *masker) close() {
	for _, fd := range [...]int{m.null, m.empty} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (m *masker) cover(path string) error {
	target, missing, err := m.root.lookup(path)
	if missing || err != nil {
		return err
	}
	defer unix.Close(target)
	dir, err := isDir(target)
	if err != nil {
		return err
	}
	if dir {
		return m.coverDir(target)
	}
	if m.null < 0 {
		null, err := m.root.openNull(unix.O_PATH)
		if err != nil {
			return fmt.Errorf("the container's /dev/null, to cover it with: %w", err)
		}
		m.null = null
	}
	return bindFile(m.null, target)
}

func (m *masker) coverDir(target int) error {
	if m.empty >= 0 {
		return bindFile(m.empty, target)
	}
	empty, err := linux.NewFilesystem("tmpfs", "tmpfs", MaskParams(m.root.plan.MountLabel), MaskAttrs)
	if err != nil {
		return err
	}
	m.empty = empty
	if err := linux.Attach(empty, target); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}
