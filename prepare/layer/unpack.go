// unpack.go: a tar becomes a layer's directory.

package layer

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Options are how to unpack.
type Options struct {
	// Overlay is the kind of extended attributes that overlayfs is to read.
	Overlay Namespace
	// Base is whether no layer lies below: then nothing can be missing.
	Base bool
	// Plain takes no name for a whiteout: the tar is of a plain tree.
	Plain bool
	// Contents says that the summary is to have the digests of the files.
	Contents bool
	// Beside, if it is not empty, is how the names begin under which entries are
	// made, but for directories, before they take their places: what is there is
	// whole at every moment, or is replaced. Nothing else may begin so.
	Beside string
	// Into leaves the root directory itself as it is.
	Into bool
	// Parents are the directories of the layers below, the topmost first. With
	// nil, and no Base, a layer that needs them is ErrNeedsParents.
	Parents []*os.File
}

// Summary is what unpacking has found.
type Summary struct {
	// Entries is how many entries the tar has, Size the sum of its files' sizes.
	Entries int
	Size    int64
	// Contents are the digests of the files, if they were asked for.
	Contents Contents
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
	hash   hash.Hash              // of the content of the file that is being written; nil: none
	dirs   map[string]*tar.Header // what directories are to be given at the end

	besides    int    // how many names Beside has been given to
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
	if o.Contents {
		u.hash, u.sum.Contents = sha256.New(), Contents{}
	}
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

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := checkEntry(h)
	if err != nil {
		return err
	}
	if name == "" {
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
	if u.o.Beside == "" {
		_, err := u.makeAt(h, content, parent, name, base)
		return err
	}
	at := u.o.Beside + strconv.Itoa(u.besides)
	u.besides++
	made, err := u.makeAt(h, content, parent, name, at)
	if err == nil && made {
		err = u.rename(parent, at, name, base)
	}
	if err != nil {
		_ = unix.Unlinkat(parent, at, 0) // it may not be there; the first error counts
	}
	return err
}

// makeAt makes an entry in a directory as base; false: it cannot be made here,
// and is dropped.
func (u *unpacker) makeAt(h *tar.Header, content io.Reader, parent int, name, base string) (bool, error) {
	if isFile(h) {
		return true, u.file(h, content, parent, name, base)
	}
	switch h.Typeflag {
	case tar.TypeLink:
		return true, u.link(h, parent, name, base)
	case tar.TypeSymlink:
		if err := u.fresh(parent, name, base, func() error { return unix.Symlinkat(h.Linkname, parent, base) }); err != nil {
			return false, &os.PathError{Op: "make symlink", Path: name, Err: err}
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if made, err := u.node(h, parent, name, base); err != nil || !made {
			return false, err
		}
	default:
		return false, fmt.Errorf("unknown type %q of a tar entry", h.Typeflag)
	}
	return true, u.attributes(h, parent, name, base)
}

// rename gives what is whole its place.
func (u *unpacker) rename(parent int, from, name, base string) error {
	err := unix.Renameat(parent, from, parent, base)
	if err == unix.EISDIR {
		if err := u.replace(parent, name, base); err != nil {
			return err
		}
		err = unix.Renameat(parent, from, parent, base)
	}
	if err != nil {
		return &os.PathError{Op: "rename", Path: name, Err: err}
	}
	// Of two names of one file rename(2) leaves both.
	if err := unix.Unlinkat(parent, from, 0); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: from, Err: err}
	}
	return nil
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
		u.sum.drop("device nodes, which no user namespace may make")
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "make node", Path: name, Err: err}
	}
	return true, nil
}
