// Package overlay stacks directories and mounts them.
//
// Every directory is given to the kernel as a descriptor: no path is looked up,
// no colon needs an escape, and a stack of hundreds of layers has no string to
// fit into. Layers can be copies of mounts that are attached nowhere, whose ids
// are mapped for a user namespace. Where a kernel lacks one of the calls, an
// older way is taken; where it lacks them all, the error says what is missing.
//
// It decides nothing about containers.
package overlay

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Stack is what is to be mounted. All directories stay the caller's.
type Stack struct {
	// Lowers are the layers, the topmost first.
	Lowers []*os.File
	// Upper and Work are the writable layer's; nil: it is read-only. They are
	// on the same mount.
	Upper, Work *os.File
	// UserXattr reads and writes overlayfs's marks as user.overlay.*, as a
	// mount in a user namespace must.
	UserXattr bool
	// Volatile leaves out syncing: the writable layer does not outlive a crash.
	Volatile bool
	// Context is the SELinux label of all files; "": their own.
	Context string
	// Ways are the ways to give the layers to the kernel that are tried, in
	// order; nil: all of them.
	Ways []Way
}

// Way is one way to give layers to the kernel.
type Way string

// The ways. ByFD is a descriptor a layer (Linux 6.13), ByPath one string a
// layer (Linux 6.5), ByOption mount(2) with all of them in one page.
const (
	ByFD     Way = "fd"
	ByPath   Way = "path"
	ByOption Way = "option"
)

// AllWays is every way, the best first.
var AllWays = []Way{ByFD, ByPath, ByOption}

// pageSize is how long the data of mount(2) may be, with its NUL.
const pageSize = 4096

// ErrTooMany says that the kernel cannot stack so many layers.
var ErrTooMany = errors.New("too many layers")

// maxLowers is OVL_MAX_STACK.
const maxLowers = 500

// Mount mounts the stack on target.
func (s *Stack) Mount(target *os.File) error {
	if len(s.Lowers) == 0 || len(s.Lowers) == 1 && s.Upper == nil {
		return errors.New("mount overlay: one layer alone is not a stack")
	}
	if len(s.Lowers) > maxLowers {
		return fmt.Errorf("mount overlay: %d layers, the kernel stacks %d: %w", len(s.Lowers), maxLowers, ErrTooMany)
	}
	ways := s.Ways
	if ways == nil {
		ways = AllWays
	}
	var last error
	for _, w := range ways {
		var err error
		if w == ByOption {
			err = s.mountOld(target)
		} else {
			err = s.mountNew(target, w)
		}
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, errWay) {
			last = err
		}
		if !errors.Is(err, errWay) {
			break
		}
	}
	return fmt.Errorf("mount overlay: %w", last)
}

// errWay says that a way is not this kernel's.
var errWay = errors.New("the kernel does not know this way to give layers")

func fdPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// params are the options that do not name layers. Renames of directories are
// not recorded as references to lower ones, and neither are contents: so a
// writable layer means the same on its own, and commit can read it.
func (s *Stack) params() []linux.Param {
	p := []linux.Param{{Key: "metacopy", Value: "off"}, {Key: "index", Value: "off"}}
	if s.UserXattr {
		p = append(p, linux.Param{Key: "userxattr", Flag: true})
	} else {
		p = append(p, linux.Param{Key: "redirect_dir", Value: "nofollow"})
	}
	if s.Volatile && s.Upper != nil {
		p = append(p, linux.Param{Key: "volatile", Flag: true})
	}
	if s.Context != "" {
		p = append(p, linux.Param{Key: "context", Value: s.Context})
	}
	return p
}

func (s *Stack) mountNew(target *os.File, w Way) error {
	ctx, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		if err == unix.ENOSYS {
			return fmt.Errorf("fsopen: %w: %w", errWay, err)
		}
		return fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(ctx)
	give := func(key string, f *os.File) error {
		if w != ByFD && w != ByPath {
			return unix.EINVAL
		}
		if w == ByFD {
			return unix.FsconfigSetFd(ctx, key, int(f.Fd()))
		}
		return unix.FsconfigSetString(ctx, key, fdPath(f))
	}
	for i, l := range s.Lowers {
		if err := give("lowerdir+", l); err != nil {
			if i == 0 && (err == unix.EINVAL || err == unix.EBADF) {
				return fmt.Errorf("layer by %s: %w: %w", w, errWay, err)
			}
			return linux.ContextError(ctx, fmt.Sprintf("layer %d of %d", i+1, len(s.Lowers)), err)
		}
	}
	if s.Upper != nil {
		if err := give("upperdir", s.Upper); err != nil {
			return linux.ContextError(ctx, "writable layer", err)
		}
		if err := give("workdir", s.Work); err != nil {
			return linux.ContextError(ctx, "work directory", err)
		}
	}
	if err := unix.FsconfigSetString(ctx, "source", "gourd"); err != nil {
		return linux.ContextError(ctx, "source", err)
	}
	for _, p := range s.params() {
		if p.Flag {
			err = unix.FsconfigSetFlag(ctx, p.Key)
		} else {
			err = unix.FsconfigSetString(ctx, p.Key, p.Value)
		}
		if err != nil {
			return linux.ContextError(ctx, "option "+p.String(), err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return linux.ContextError(ctx, "create", err)
	}
	mnt, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return linux.ContextError(ctx, "fsmount", err)
	}
	defer unix.Close(mnt)
	if err := linux.Attach(mnt, int(target.Fd())); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	return nil
}

// mountOld is for kernels before 6.5.
func (s *Stack) mountOld(target *os.File) error {
	var b strings.Builder
	b.WriteString("lowerdir=")
	for i, l := range s.Lowers {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(fdPath(l))
	}
	if s.Upper != nil {
		b.WriteString(",upperdir=" + fdPath(s.Upper) + ",workdir=" + fdPath(s.Work))
	}
	for _, p := range s.params() {
		if p.Key == "context" { // labels have commas in them
			b.WriteString(`,context="` + p.Value + `"`)
			continue
		}
		b.WriteString("," + p.String())
	}
	if b.Len() >= pageSize {
		return fmt.Errorf("%d layers do not fit into a page, and this kernel cannot take them one by one (Linux 6.5 can): %w", len(s.Lowers), ErrTooMany)
	}
	if err := unix.Mount("gourd", fdPath(target), "overlay", 0, b.String()); err != nil {
		return err
	}
	return nil
}

// Bind mounts a copy of the tree at dir on target: of dir's mount, and with
// recursive of those below. setAttr holds MOUNT_ATTR_ bits.
func Bind(dir, target *os.File, recursive bool, setAttr uint64) error {
	mnt, err := linux.CloneTree(int(dir.Fd()), "", recursive)
	if err != nil {
		return fmt.Errorf("bind mount: %w", linux.NeedsKernel("5.2", err))
	}
	defer unix.Close(mnt)
	if err := linux.SetMountAttr(mnt, recursive, setAttr, 0, unix.MS_PRIVATE); err != nil {
		return fmt.Errorf("bind mount: set attributes: %w", err)
	}
	if err := linux.Attach(mnt, int(target.Fd())); err != nil {
		return fmt.Errorf("bind mount: attach: %w", err)
	}
	return nil
}

// Dir is an open directory that can be a layer. It may lie on a mount that is
// attached nowhere, which goes with it.
type Dir struct {
	*os.File
	mnt int // -1: none
}

// Plain makes a directory that is open already a Dir, which owns it.
func Plain(f *os.File) *Dir { return &Dir{f, -1} }

// Close closes the directory and gives its mount back.
func (d *Dir) Close() error {
	err := d.File.Close()
	if d.mnt >= 0 {
		err = errors.Join(err, unix.Close(d.mnt))
		d.mnt = -1
	}
	return err
}

// Detached tells whether the directory lies on a mount that is attached nowhere.
func (d *Dir) Detached() bool { return d.mnt >= 0 }

// Attach attaches the directory's own mount to a place, where it stays when the
// directory is closed.
func (d *Dir) Attach(target *os.File) error {
	if err := linux.Attach(d.mnt, int(target.Fd())); err != nil {
		return fmt.Errorf("attach the mount of a layer: %w", err)
	}
	return nil
}

// Files are the open files of directories.
func Files(dirs []*Dir) []*os.File {
	out := make([]*os.File, len(dirs))
	for i, d := range dirs {
		out[i] = d.File
	}
	return out
}

// Mapped returns a directory on a copy of its mount, attached nowhere, in which
// the ids are mapped by a user namespace.
func Mapped(dir *os.File, userns *os.File) (*Dir, error) {
	mnt, err := linux.CloneTree(int(dir.Fd()), "", false)
	if err != nil {
		return nil, fmt.Errorf("map the ids of a layer: copy its mount: %w", linux.NeedsKernel("5.2", err))
	}
	if err := linux.MapMountIDs(mnt, false, int(userns.Fd())); err != nil {
		unix.Close(mnt)
		return nil, fmt.Errorf("map the ids of a layer: %w", linux.NeedsKernel("5.12", err))
	}
	return onMount(mnt, dir.Name())
}

// onMount opens the root of a detached mount, which it owns.
func onMount(mnt int, called string) (*Dir, error) {
	f, err := OpenDir(mnt, ".", called)
	if err != nil {
		unix.Close(mnt)
		return nil, err
	}
	return &Dir{f, mnt}, nil
}

// EROFS mounts an EROFS file system, attached nowhere: its metadata is in the
// file index, the content of its files in the file data (Linux 6.12).
func EROFS(index, data *os.File) (*Dir, error) {
	mnt, err := linux.NewFilesystem("erofs", fdPath(index), []linux.Param{{Key: "device", Value: fdPath(data)}},
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("mount the layer %s: %w", index.Name(), err)
	}
	return onMount(mnt, index.Name())
}

// OpenDir opens a directory below an open one. No symlink is followed.
func OpenDir(dir int, name, called string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: called, Err: err}
	}
	return os.NewFile(uintptr(fd), called), nil
}
