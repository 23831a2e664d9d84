package prepare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/overlay"
	"github.com/gourd-oci/gourd/prepare/store"
)

// Mount mounts a container's root filesystem, or counts that it is wanted once
// more, and returns where it is.
func (p *Preparer) Mount(ref string) (string, error) {
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return "", err
	}
	return p.rootfs(c), p.mountFor(c, nil)
}

// mountFor mounts for as long as the process by lives, or if that is nil until
// it is unmounted.
func (p *Preparer) mountFor(c *store.Container, by *store.Process) error {
	lock, err := p.Store.LockContainer(c.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if err := p.mount(c, by); err != nil {
		return fmt.Errorf("mount container %q: %w", c.Name, err)
	}
	return nil
}

// rootfs is where a container is mounted.
func (p *Preparer) rootfs(c *store.Container) string { return p.Store.Bundle(c.ID) + "/rootfs" }

// merged is where its layers are stacked while they are copied.
func (p *Preparer) merged(c *store.Container) string { return p.Store.RunDir(c.ID) + "/merged" }

// shm is where a container's /dev/shm is mounted.
func (p *Preparer) shm(c *store.Container) string { return p.Store.RunDir(c.ID) + "/shm" }

// mount is mountFor for a container that is locked.
func (p *Preparer) mount(c *store.Container, by *store.Process) (err error) {
	m, err := p.Store.ReadMounts(c.ID)
	if err != nil {
		return err
	}
	mounted, err := mountinfo.Mounted(p.rootfs(c))
	if err != nil {
		return err
	}
	if mounted && m.Total() > 0 {
		return p.count(c, m, by)
	}
	pid, err := p.process(c)
	switch {
	case err != nil:
		return err
	case pid != 0 && mounted:
		// The count is lost. The container that runs is one, which its hook takes back.
		m.Add(nil)
		return p.count(c, m, by)
	case pid != 0:
		return fmt.Errorf("%w, though its root filesystem was unmounted here: process %d; stop it first", ErrRunning, pid)
	}
	if c.MountLabel != "" {
		if err := needSELinux(c.MountLabel); err != nil {
			return fmt.Errorf("mount label %q: %w", c.MountLabel, err)
		}
	}
	// What is mounted and not counted, or counted and not mounted, is of a
	// process that was killed: begin anew.
	if err := p.clear(c); err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.On(&err)
	undo.Add("unmount "+p.rootfs(c), func() error { return p.clear(c) })
	if err := p.refreshRun(c); err != nil {
		return err
	}
	how, err := p.mountRootfs(c)
	if err != nil {
		return err
	}
	if err := p.count(c, store.Mounts{How: how}, by); err != nil {
		return err
	}
	undo.Release()
	return nil
}

// count counts one more for a container that is mounted.
func (p *Preparer) count(c *store.Container, m store.Mounts, by *store.Process) (err error) {
	m.Add(by)
	if m.Root, err = store.StatFile(p.rootfs(c)); err != nil {
		return err
	}
	return p.Store.WriteMounts(c.ID, m)
}

// needSELinux tells whether this kernel can give mounts the label.
func needSELinux(label string) error {
	data, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(data), "selinuxfs") {
		return errors.New("this kernel has no SELinux; set the empty label")
	}
	if err == nil && linux.UnknownContext(label) {
		return errors.New("it is no context of the SELinux policy that is loaded")
	}
	return err
}

// clear unmounts whatever is mounted for a container.
func (p *Preparer) clear(c *store.Container) error {
	errs := []error{unmountAll(p.shm(c)), unmountAll(p.rootfs(c)), unmountAll(p.merged(c))}
	left, err := filepath.Glob(p.Store.RunDir(c.ID) + "/layers/*")
	for _, l := range left {
		errs = append(errs, unmountAll(l))
	}
	return errors.Join(append(errs, err)...)
}

// unmountAll unmounts what is mounted at a path, however often.
func unmountAll(at string) error {
	for {
		err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		switch err {
		case nil:
			continue
		case unix.EINVAL, unix.ENOENT: // nothing is mounted there, or nothing is there
			return nil
		case unix.EINTR:
			continue
		}
		return &os.PathError{Op: "unmount", Path: at, Err: err}
	}
}

// mountRootfs mounts a container's root filesystem, on which nothing is.
func (p *Preparer) mountRootfs(c *store.Container) (how string, err error) {
	at, err := openPath(p.rootfs(c))
	if err != nil {
		return "", err
	}
	defer at.Close()
	lowers, err := p.lowers(c)
	defer func() { closeAll(lowers) }()
	if err != nil {
		return "", err
	}
	userns, err := p.userns(c)
	if err != nil {
		return "", err
	}
	if userns != nil {
		defer userns.Close()
	}
	if !c.Writable && len(lowers) == 1 {
		return "bind", p.bindRootfs(c, lowers[0].File, at, userns)
	}
	s := overlay.Stack{UserXattr: p.Store.Overlay == layer.User, Context: c.MountLabel, Volatile: c.Ephemeral}
	own, err := os.Open(p.Store.ContainerDir(c.ID))
	if err != nil {
		return "", err
	}
	defer own.Close()
	if c.Writable {
		if err := p.readyUpper(c, own); err != nil {
			return "", err
		}
	}
	if c.Overlay == OverlayFuse {
		return OverlayFuse, p.mountFuse(c)
	}
	layers := lowers
	if userns != nil {
		// The writable layer is not mapped: overlayfs makes its work files as
		// root of the host, who has no id in there. So it holds the host's ids.
		mapped, err := mapAll(overlay.Files(lowers), userns)
		defer closeAll(mapped)
		if err != nil {
			return "", err
		}
		layers = mapped
	}
	s.Lowers = overlay.Files(layers)
	if c.Writable {
		if s.Upper, err = overlay.OpenDir(int(own.Fd()), "upper", own.Name()+"/upper"); err != nil {
			return "", err
		}
		defer s.Upper.Close()
		if s.Work, err = overlay.OpenDir(int(own.Fd()), "work", own.Name()+"/work"); err != nil {
			return "", err
		}
		defer s.Work.Close()
	}
	err = s.Mount(at)
	if errors.Is(err, unix.EINVAL) && slices.ContainsFunc(layers, (*overlay.Dir).Detached) {
		err = p.mountAttached(c, layers, &s, at)
	}
	if err != nil && c.Overlay == "" && p.Rootless && c.UIDMappings == nil {
		// A kernel that does not let a user namespace mount overlays.
		if ferr := p.mountFuse(c); ferr != nil {
			return "", errors.Join(err, ferr)
		}
		return OverlayFuse, nil
	}
	return "overlay", err
}

// mountAttached mounts a stack whose layers are attached for the moment: before
// Linux 6.15 overlayfs takes none that are attached nowhere. It keeps copies of
// their mounts, so that they can go at once.
func (p *Preparer) mountAttached(c *store.Container, layers []*overlay.Dir, s *overlay.Stack, at *os.File) (err error) {
	base := p.Store.RunDir(c.ID) + "/layers"
	var undo cleanup.Stack
	defer func() { err = errors.Join(err, undo.Run()) }()
	if err := os.Mkdir(base, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	undo.Add("remove "+base, func() error { return os.Remove(base) })
	for i, l := range layers {
		if !l.Detached() {
			continue
		}
		name := fmt.Sprintf("%s/%d", base, i)
		if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		undo.Add("unmount "+name, func() error { return errors.Join(unmountAll(name), os.Remove(name)) })
		target, err := openPath(name)
		if err != nil {
			return err
		}
		err = l.Attach(target)
		target.Close()
		if err != nil {
			return err
		}
	}
	return s.Mount(at)
}

// mapAll maps the ids of directories. What it returns with an error has to be
// closed, too.
func mapAll(dirs []*os.File, userns *os.File) ([]*overlay.Dir, error) {
	var all []*overlay.Dir
	for _, d := range dirs {
		m, err := overlay.Mapped(d, userns)
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

// bindRootfs mounts the one directory that a container has.
func (p *Preparer) bindRootfs(c *store.Container, dir, at, userns *os.File) error {
	var attr uint64
	if c.Rootfs == "" { // a layer, which others share
		attr = unix.MOUNT_ATTR_RDONLY
	}
	if userns != nil {
		m, err := overlay.Mapped(dir, userns)
		if err != nil {
			return err
		}
		defer m.Close()
		// The copy is what is mounted: not below anything else.
		return overlay.Bind(m.File, at, false, attr)
	}
	return overlay.Bind(dir, at, c.Rootfs != "", attr)
}

// userns returns a user namespace with the container's maps, or nil where its
// layers are mounted as they are.
func (p *Preparer) userns(c *store.Container) (*os.File, error) {
	if len(c.UIDMappings) == 0 || c.Chowned {
		return nil, nil
	}
	return nsenter.UserNamespace(maps(c.UIDMappings), maps(c.GIDMappings))
}

func maps(ms []specs.LinuxIDMapping) []nsenter.IDMap {
	out := make([]nsenter.IDMap, len(ms))
	for i, m := range ms {
		out[i] = nsenter.IDMap{Inside: m.ContainerID, Outside: m.HostID, Size: m.Size}
	}
	return out
}

// readyUpper makes the writable layer ready for a mount: an ephemeral one is
// emptied, and the work directory is made anew, for the kernel leaves marks of
// a volatile mount there.
func (p *Preparer) readyUpper(c *store.Container, own *os.File) error {
	if c.Ephemeral {
		if err := p.emptyUpper(own); err != nil {
			return err
		}
	}
	if err := linux.RemoveTree(int(own.Fd()), "work"); err != nil {
		return err
	}
	return unix.Mkdirat(int(own.Fd()), "work", 0o700)
}

// emptyUpper empties a writable layer in place: it keeps its inode, but none of
// overlayfs's marks.
func (p *Preparer) emptyUpper(own *os.File) error {
	if err := linux.EmptyDir(int(own.Fd()), "upper"); err != nil {
		return err
	}
	upper, err := overlay.OpenDir(int(own.Fd()), "upper", own.Name()+"/upper")
	if err != nil {
		return err
	}
	defer upper.Close()
	attrs, err := layer.Xattrs(int(upper.Fd()))
	if err != nil {
		return err
	}
	for k := range attrs {
		if !layer.OverlayXattr(k) {
			continue
		}
		if err := unix.Fremovexattr(int(upper.Fd()), k); err != nil && err != unix.ENODATA {
			return fmt.Errorf("remove extended attribute %s of the writable layer: %w", k, err)
		}
	}
	return nil
}

// lowers opens what lies below a container's writable layer, the topmost first.
// What it returns with an error has to be closed, too.
func (p *Preparer) lowers(c *store.Container) ([]*overlay.Dir, error) {
	name := c.Rootfs
	if c.Chowned {
		name = p.shifted(c)
	}
	if name == "" {
		return p.openLayers(c.Layers)
	}
	dir, err := openPath(name)
	if err != nil {
		return nil, err
	}
	return []*overlay.Dir{overlay.Plain(dir)}, nil
}

// openLayers opens layers by key, the base first, and returns them the topmost
// first. What it returns with an error has to be closed, too.
func (p *Preparer) openLayers(keys []string) ([]*overlay.Dir, error) {
	dirs := make([]*overlay.Dir, 0, len(keys))
	for i := len(keys) - 1; i >= 0; i-- {
		// A layer that an image has twice counts where it is topmost: there it
		// hides all that it has below. The kernel takes no directory twice.
		if slices.Contains(keys[i+1:], keys[i]) {
			continue
		}
		l, err := p.Store.Layer(keys[i])
		if err != nil {
			return dirs, fmt.Errorf("layer %s: %w", keys[i], err)
		}
		d, err := p.openLayer(l)
		if err != nil {
			return dirs, err
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// openLayer opens a layer's directory.
func (p *Preparer) openLayer(l *store.Layer) (*overlay.Dir, error) {
	dir := p.Store.LayerDir(l.Key)
	if l.Format == store.FormatEROFS {
		return openEROFS(dir)
	}
	f, err := openPath(dir + "/" + diffName)
	if err != nil {
		return nil, err
	}
	return overlay.Plain(f), nil
}

// openEROFS mounts the layer whose index and tar are in a directory.
func openEROFS(dir string) (*overlay.Dir, error) {
	index, err := os.Open(dir + "/" + indexName)
	if err != nil {
		return nil, err
	}
	defer index.Close()
	data, err := os.Open(dir + "/" + tarName)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	return overlay.EROFS(index, data)
}

// openPath opens a directory of the store, or one that the user has named.
func openPath(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func closeAll(dirs []*overlay.Dir) {
	for _, f := range dirs {
		f.Close()
	}
}
