// unpack.go: a tar becomes a layer's directory.

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Names that mean something in a layer's tar (image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // .wh..wh.plnk, .wh..wh.aufs: of aufs, mean nothing
)

// ErrNeedsParents says that a layer cannot be unpacked by itself: it has a hard
// link to a file of a lower layer, or an entry in a directory that it does not
// describe, so that a lower layer does.
var ErrNeedsParents = errors.New("the layer depends on the layers below it")

// Options are how to unpack.
type Options struct {
	// Overlay is the kind of extended attributes that overlayfs is to read.
	Overlay Namespace
	// Base is whether no layer lies below: then nothing can be missing.
	Base bool
	// Plain takes no name for a whiteout: the tar is of a plain tree.
	Plain bool
	// Into leaves the root directory itself as it is.
	Into bool
	// Parents are the directories of the layers below, the topmost first. With
	// nil, and no Base, a layer that needs them is ErrNeedsParents.
	Parents []*os.File
}

// Namespace is where overlayfs keeps its marks: "trusted" for root's mounts,
// "user" for those of a user namespace (mount option userxattr).
type Namespace string

// The two namespaces.
const (
	Trusted Namespace = "trusted"
	User    Namespace = "user"
)

func (n Namespace) opaque() string { return string(n) + ".overlay.opaque" }

// Summary is what unpacking has found.
type Summary struct {
	// Entries is how many entries the tar has, Size the sum of its files' sizes.
	Entries int
	Size    int64
	// Files and Bytes are what Count gives afterwards.
	Files int
	Bytes int64
	// Youngest is the latest time of an entry.
	Youngest time.Time
	// Root says that the tar describes the layer's root directory.
	Root bool
	// Whiteouts is how many marks of overlayfs's the directory has: without
	// any, it is what it looks like.
	Whiteouts int
	// Implied says that directories were made that the tar does not describe,
	// as if no layer below did.
	Implied bool
	// Dependent says that something of a lower layer was used, so that this
	// directory belongs to these parents alone.
	Dependent bool
	// Dropped counts what could not be kept or is not taken from images, by a
	// text that says what: "extended attribute trusted.overlay.redirect".
	Dropped map[string]int
}

func (s *Summary) drop(what string) {
	if s.Dropped == nil {
		s.Dropped = map[string]int{}
	}
	s.Dropped[what]++
}

// unpacker is one run of Unpack.
type unpacker struct {
	ctx    context.Context
	o      Options
	root   int
	sum    Summary
	sparse sparse
	dirs   map[string]*tar.Header // what directories are to be given at the end

	parent     string // the directory of the last entry
	parentFD   int    // -1: none
	buf, zeros []byte
}

// Unpack reads a tar into the empty directory root. The directory is not the
// layer yet when it fails.
//
// What an image must not say is refused: a path that leads out, a device
// 0:0, which overlayfs takes for a whiteout, numbers that no file can have, and
// holes without end. Attributes of overlayfs itself are dropped, and so counted.
func Unpack(ctx context.Context, r io.Reader, root *os.File, o Options) (*Summary, error) {
	u := &unpacker{ctx: ctx, o: o, root: int(root.Fd()), dirs: map[string]*tar.Header{}, parentFD: -1, buf: make([]byte, 128<<10), zeros: make([]byte, hole)}
	defer u.leave()
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read tar: %w", err)
		}
		u.sum.Entries++
		if h.ModTime.After(u.sum.Youngest) {
			u.sum.Youngest = h.ModTime
		}
		if err := u.sparse.add(h); err != nil {
			return nil, fmt.Errorf("layer entry %q: %w", h.Name, err)
		}
		if err := u.entry(h, t); err != nil {
			return nil, fmt.Errorf("layer entry %q: %w", h.Name, err)
		}
	}
	if u.o.Into {
		delete(u.dirs, "")
	} else if u.dirs[""] == nil {
		u.dirs[""] = &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}
	}
	if err := u.finishDirs(); err != nil {
		return nil, err
	}
	return &u.sum, nil
}

// entryPath cleans an entry's name: relative to the layer's root, "" for that.
// A name that climbs out of it is refused, even if it would come back.
func entryPath(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("the name has a NUL in it")
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errors.New("the path leads out of the layer")
	}
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// checkNumbers refuses owners and devices that the kernel would cut to others:
// user 2^32 to root, the device 4096:0 to the 0:0 of a whiteout.
func checkNumbers(h *tar.Header) error {
	const (
		ids          = 1<<32 - 1 // the last one means none
		majors       = 1 << 12   // MINORBITS of linux/kdev_t.h leaves 12 of 32 bits
		minors int64 = 1 << 20
	)
	if uid, gid := int64(h.Uid), int64(h.Gid); uid < 0 || uid >= ids || gid < 0 || gid >= ids {
		return fmt.Errorf("the owner %d:%d is none that a file can have", h.Uid, h.Gid)
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		if h.Devmajor < 0 || h.Devmajor >= majors || h.Devminor < 0 || h.Devminor >= minors {
			return fmt.Errorf("the device %d:%d is none that Linux can have", h.Devmajor, h.Devminor)
		}
	}
	return nil
}

// sparse is how many bytes the sparse files of a layer have, holes included.
type sparse int64

// maxSparse is how many they may have: a few bytes of a tar can describe
// exbibytes of holes, which are read like any content.
const maxSparse = 64 << 30

func (s *sparse) add(h *tar.Header) error {
	if !isSparse(h) {
		return nil
	}
	if h.Size > maxSparse-int64(*s) {
		return fmt.Errorf("the sparse files of the layer have more than %d GiB", int64(maxSparse)>>30)
	}
	*s += sparse(h.Size)
	return nil
}

// isSparse tells whether an entry has a map of its holes.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func split(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := entryPath(h.Name)
	if err != nil {
		return err
	}
	if err := checkNumbers(h); err != nil {
		return err
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the layer's root is not a directory")
		}
		u.dirs[""] = h
		u.sum.Root = true
		return nil
	}
	dirName, base := split(name)
	parent, err := u.enter(dirName)
	if err != nil {
		return err
	}
	switch {
	case u.o.Plain:
	case base == opaqueName:
		return u.opaque(parent, dirName)
	case strings.HasPrefix(base, metaPrefix):
		u.sum.drop("aufs metadata " + base)
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		return u.whiteout(parent, dirName, base[len(whiteoutPrefix):])
	}
	return u.make(h, content, parent, name, base)
}

// make makes one entry that is no whiteout.
func (u *unpacker) make(h *tar.Header, content io.Reader, parent int, name, base string) error {
	// Only a directory may stand where one stands already: then it is the same.
	if h.Typeflag == tar.TypeDir {
		if _, err := u.mkdir(parent, name, base); err != nil {
			return err
		}
		u.dirs[name] = h
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, '\x00':
		return u.file(h, content, parent, name, base)
	case tar.TypeLink:
		return u.link(h, parent, name, base)
	case tar.TypeSymlink:
		if err := u.fresh(parent, name, base, func() error { return unix.Symlinkat(h.Linkname, parent, base) }); err != nil {
			return &os.PathError{Op: "make symlink", Path: name, Err: err}
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if made, err := u.node(h, parent, name, base); err != nil || !made {
			return err
		}
	default:
		return fmt.Errorf("unknown type %q of a tar entry", h.Typeflag)
	}
	return u.attributes(h, parent, name, base)
}

// mkdir makes a directory, unless there is one. In the place of a whiteout of
// this layer it is opaque: that has hidden what is below.
func (u *unpacker) mkdir(parent int, name, base string) (made bool, err error) {
	err = unix.Mkdirat(parent, base, 0o755)
	if err == nil {
		return true, nil
	}
	if err != unix.EEXIST {
		return false, &os.PathError{Op: "make directory", Path: name, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false, nil
	}
	if err := u.replace(parent, name, base); err != nil {
		return false, err
	}
	if err := unix.Mkdirat(parent, base, 0o755); err != nil {
		return false, &os.PathError{Op: "make directory", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		return true, u.hideBelow(parent, name)
	}
	return true, nil
}

// fresh calls f, which makes base; what stands there already is removed first.
func (u *unpacker) fresh(parent int, name, base string, f func() error) error {
	err := f()
	if err != unix.EEXIST {
		return err
	}
	if err := u.replace(parent, name, base); err != nil {
		return err
	}
	return f()
}

// replace removes what an earlier entry of this tar has made.
func (u *unpacker) replace(parent int, name, base string) error {
	for d := range u.dirs {
		if d == name || strings.HasPrefix(d, name+"/") {
			delete(u.dirs, d)
		}
	}
	if err := linux.RemoveTree(parent, base); err != nil {
		return &os.PathError{Op: "replace", Path: name, Err: err}
	}
	if u.parent == name || strings.HasPrefix(u.parent, name+"/") {
		u.leave()
	}
	return nil
}

// file writes a regular file.
func (u *unpacker) file(h *tar.Header, content io.Reader, parent int, name, base string) error {
	var fd int
	err := u.fresh(parent, name, base, func() (err error) {
		fd, err = unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := u.write(fd, content, h.Size); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	u.sum.Size += h.Size
	if h.Uid != 0 || h.Gid != 0 {
		if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
			return chownError(name, h, err)
		}
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	if err := u.xattrs(h, func(key string, value []byte) error { return unix.Fsetxattr(fd, key, value, 0) }); err != nil {
		return err
	}
	return u.times(h, parent, name, base)
}

// hole is the size of a run of zeros that is not written, in bytes: a block of
// the usual file systems.
const hole = 4096

// write copies size bytes, leaving holes where there are but zeros: a sparse
// file of the image stays one.
func (u *unpacker) write(fd int, r io.Reader, size int64) error {
	var at int64
	ended := true // the file ends in written data
	for at < size {
		if err := u.ctx.Err(); err != nil { // holes can be long, and reading them reads nothing else
			return err
		}
		n, err := io.ReadFull(r, u.buf[:min(int64(len(u.buf)), size-at)])
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		for part := u.buf[:n]; len(part) > 0; {
			data, zero := u.run(part)
			ended = !zero
			if !zero {
				if err := pwrite(fd, data, at); err != nil {
					return err
				}
			}
			at += int64(len(data))
			part = part[len(data):]
		}
	}
	if !ended {
		return unix.Ftruncate(fd, size)
	}
	return nil
}

// run returns the longest start of p that is either all holes or has none.
func (u *unpacker) run(p []byte) (data []byte, zero bool) {
	for n := 0; n < len(p); n += hole {
		end := n + hole
		is := end <= len(p) && bytes.Equal(p[n:end], u.zeros)
		if n == 0 {
			zero = is
		} else if is != zero {
			return p[:n], zero
		}
	}
	return p, zero
}

func pwrite(fd int, p []byte, at int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p, at = p[n:], at+int64(n)
	}
	return nil
}

// link makes a hard link to another entry, of this layer or a lower one.
func (u *unpacker) link(h *tar.Header, parent int, name, base string) error {
	target, err := entryPath(h.Linkname)
	if err != nil || target == "" {
		return fmt.Errorf("hard link to %q: the path leads out of the layer", h.Linkname)
	}
	if target == name {
		return errors.New("a hard link to itself")
	}
	dir, tbase := split(target)
	err = u.linkTo(dir, tbase, parent, name, base)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		if u.o.Base {
			return fmt.Errorf("hard link to %q, which is not there: %w", h.Linkname, err)
		}
		if err := u.copyUp(target); err != nil {
			return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
		}
		// copyUp may have made directories: look the parent up anew.
		pdir, _ := split(name)
		if parent, err = u.enter(pdir); err != nil {
			return err
		}
		err = u.linkTo(dir, tbase, parent, name, base)
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return nil
}

func (u *unpacker) linkTo(dir, tbase string, parent int, name, base string) error {
	tfd, err := openDir(u.root, dir)
	if err != nil {
		return err
	}
	defer unix.Close(tfd)
	var st unix.Stat_t
	if err := unix.Fstatat(tfd, tbase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errors.New("it is a directory")
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 && !u.o.Plain {
		return errors.New("this layer deletes it")
	}
	return u.fresh(parent, name, base, func() error { return unix.Linkat(tfd, tbase, parent, base, 0) })
}

// node makes a device or FIFO; false: it cannot be made here, and is dropped.
func (u *unpacker) node(h *tar.Header, parent int, name, base string) (bool, error) {
	mode := uint32(unix.S_IFIFO)
	var dev uint64
	if h.Typeflag != tar.TypeFifo {
		mode = unix.S_IFCHR
		if h.Typeflag == tar.TypeBlock {
			mode = unix.S_IFBLK
		}
		dev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		if mode == unix.S_IFCHR && dev == 0 && !u.o.Plain {
			return false, errors.New("a character device 0:0 is a whiteout of overlayfs, which an image must not have")
		}
	}
	err := u.fresh(parent, name, base, func() error { return unix.Mknodat(parent, base, mode|0o600, int(dev)) })
	if err == unix.EPERM && mode != unix.S_IFIFO && u.o.Overlay == User {
		// No user namespace may make devices.
		u.sum.drop("device node " + name)
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "make node", Path: name, Err: err}
	}
	return true, nil
}

// whiteout makes overlayfs's mark for a name that lower layers have.
func (u *unpacker) whiteout(parent int, dir, base string) error {
	if base == "" || base == "." || base == ".." {
		return errors.New("a whiteout of no name")
	}
	u.sum.Whiteouts++
	err := unix.Mknodat(parent, base, unix.S_IFCHR, 0)
	if err == unix.EEXIST {
		// The same layer has the name, too: what it has hides what is below,
		// but a directory must not be merged with a lower one.
		return u.hideBelow(parent, path.Join(dir, base))
	}
	if err != nil {
		return &os.PathError{Op: "make whiteout", Path: path.Join(dir, base), Err: err}
	}
	return nil
}

// hideBelow makes an entry of this layer opaque, if it is a directory.
func (u *unpacker) hideBelow(parent int, name string) error {
	_, base := split(name)
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	return u.markOpaque(fd, name)
}

func (u *unpacker) opaque(parent int, dir string) error {
	u.sum.Whiteouts++
	fd, err := unix.Openat(parent, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return u.markOpaque(fd, dir)
}

func (u *unpacker) markOpaque(fd int, name string) error {
	if err := unix.Fsetxattr(fd, u.o.Overlay.opaque(), []byte("y"), 0); err != nil {
		return &os.PathError{Op: "mark opaque", Path: name, Err: err}
	}
	return nil
}

// attributes gives owner, mode, attributes and times to what is not a regular
// file or a directory.
func (u *unpacker) attributes(h *tar.Header, parent int, name, base string) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return chownError(name, h, err)
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(parent, base, uint32(h.Mode)&0o7777, 0); err != nil {
			return &os.PathError{Op: "chmod", Path: name, Err: err}
		}
	}
	if err := u.xattrs(h, func(key string, value []byte) error {
		return unix.Lsetxattr(procPath(parent, base), key, value, 0)
	}); err != nil {
		return err
	}
	return u.times(h, parent, name, base)
}

// procPath names an entry of an open directory for the calls that take no
// descriptor (setxattrat is Linux 6.13).
func procPath(dir int, base string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + base
}

func chownError(name string, h *tar.Header, err error) error {
	if err == unix.EINVAL {
		return fmt.Errorf("chown %s to %d:%d, which is not mapped in this user namespace: %w", name, h.Uid, h.Gid, err)
	}
	return fmt.Errorf("chown %s to %d:%d: %w", name, h.Uid, h.Gid, err)
}

// paxXattr is the prefix of extended attributes in PAX records.
const paxXattr = "SCHILY.xattr."

// xattrs sets the extended attributes that an image may have.
func (u *unpacker) xattrs(h *tar.Header, set func(key string, value []byte) error) error {
	for key, value := range h.PAXRecords {
		key, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		if OverlayXattr(key) {
			u.sum.drop("extended attribute " + key + ", which is overlayfs's own")
			continue
		}
		err := set(key, []byte(value))
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM) && (u.o.Overlay == User || !strings.HasPrefix(key, "security.")):
			// Not of this file system, or not of this user namespace.
			u.sum.drop("extended attribute " + key + " (" + err.Error() + ")")
		default:
			return fmt.Errorf("set extended attribute %s: %w", key, err)
		}
	}
	return nil
}

func (u *unpacker) times(h *tar.Header, parent int, name, base string) error {
	ts := [2]unix.Timespec{timespec(h.AccessTime), timespec(h.ModTime)}
	if h.AccessTime.IsZero() {
		ts[0] = ts[1]
	}
	if err := unix.UtimesNanoAt(parent, base, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "set times", Path: name, Err: err}
	}
	return nil
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// finishDirs gives the directories what their headers say, the deepest first:
// making an entry changes the times of its directory, and a directory may be
// one in which its owner may not write.
func (u *unpacker) finishDirs() error {
	names := make([]string, 0, len(u.dirs))
	for n := range u.dirs {
		names = append(names, n)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(names)))
	for _, name := range names {
		if err := u.finishDir(name, u.dirs[name]); err != nil {
			return fmt.Errorf("layer entry %q: %w", name, err)
		}
	}
	return nil
}

func (u *unpacker) finishDir(name string, h *tar.Header) error {
	fd, err := u.reopen(name)
	if err != nil {
		return &os.PathError{Op: "open directory", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return chownError(name, h, err)
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	if err := u.xattrs(h, func(key string, value []byte) error { return unix.Fsetxattr(fd, key, value, 0) }); err != nil {
		return err
	}
	return u.times(h, fd, name, ".")
}

// reopen opens a directory that this layer has made.
func (u *unpacker) reopen(name string) (int, error) {
	if name == "" {
		name = "."
	}
	return linux.OpenInRoot(u.root, name, unix.O_RDONLY|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
}

// openDir finds a directory of the layer. Symlinks of the layer's own are
// followed, with its root as "/".
func openDir(root int, name string) (int, error) {
	if name == "" {
		name = "."
	}
	return linux.OpenInRoot(root, name, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_XDEV)
}

// enter returns the directory of an entry, making what is missing of it. The
// descriptor is good until the next call.
func (u *unpacker) enter(name string) (int, error) {
	if u.parentFD >= 0 && u.parent == name {
		return u.parentFD, nil
	}
	u.leave()
	fd, err := openDir(u.root, name)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		if err := u.imply(name); err != nil {
			return -1, err
		}
		fd, err = openDir(u.root, name)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open directory", Path: name, Err: err}
	}
	u.parent, u.parentFD = name, fd
	return fd, nil
}

func (u *unpacker) leave() {
	if u.parentFD >= 0 {
		unix.Close(u.parentFD)
		u.parentFD = -1
	}
}

// imply makes the directories that lead to an entry and that the tar does not
// describe (yet): they are as the layers below have them, or root's, 0755.
func (u *unpacker) imply(name string) error {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		dir, base := split(name[:i])
		fd, err := openDir(u.root, dir)
		if err != nil {
			return &os.PathError{Op: "open directory", Path: dir, Err: err}
		}
		var st unix.Stat_t
		made := false
		// A symlink of this layer that leads to a directory is followed.
		serr := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if serr == unix.ENOENT || serr == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			made, err = u.mkdir(fd, name[:i], base)
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
		if !made {
			continue
		}
		if err := u.inherit(name[:i]); err != nil {
			return err
		}
	}
	return nil
}

// epoch are the times of a directory that no layer describes.
var epoch = time.Unix(0, 0)

// inherit decides what an implied directory is to be like.
func (u *unpacker) inherit(name string) error {
	h := &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}
	if u.o.Base {
		u.sum.Implied = true
	} else {
		if u.o.Parents == nil {
			// The tar may still describe it, but then after its entries, which
			// no tool does.
			return ErrNeedsParents
		}
		u.sum.Dependent = true
		low, err := lookup(u.o.Parents, u.o.Overlay, name)
		if err != nil {
			return err
		}
		if low != nil {
			defer unix.Close(low.fd)
			if low.st.Mode&unix.S_IFMT == unix.S_IFDIR {
				if h, err = low.header(name); err != nil {
					return err
				}
			}
		}
	}
	u.dirs[name] = h
	return nil
}

// OverlayXattr tells whether an extended attribute is overlayfs's own.
func OverlayXattr(key string) bool {
	return strings.HasPrefix(key, "trusted.overlay.") || strings.HasPrefix(key, "user.overlay.")
}
