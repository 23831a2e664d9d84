// index.go: a tar becomes the content of an EROFS file system.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/erofs"
)

// ErrUnsuitable says that a layer is not for an index and has to be unpacked: it
// has sparse files, or entries below its own symlinks.
var ErrUnsuitable = errors.New("the layer cannot be indexed")

// indexer is one run of Index.
type indexer struct {
	o    Options
	sum  Summary
	root *erofs.Inode
	at   *copying
}

// copying copies what is read, and counts.
type copying struct {
	r io.Reader
	w io.Writer
	n uint64
}

func (c *copying) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.n += uint64(n)
		if _, werr := c.w.Write(p[:n]); werr != nil {
			return n, werr
		}
	}
	return n, err
}

// Index reads a tar to its end, copies it to copyTo, and writes the metadata of
// its files to index, so that both together are an EROFS file system that is
// what Unpack makes of the tar. The rules are Unpack's.
func Index(r io.Reader, copyTo, index io.Writer, o Options) (*Summary, error) {
	x, err := readTree(r, copyTo, o)
	if err != nil {
		return nil, err
	}
	return &x.sum, erofs.Write(index, x.root, x.at.n)
}

// readTree reads the tar of Index.
func readTree(r io.Reader, copyTo io.Writer, o Options) (*indexer, error) {
	x := &indexer{o: o, root: directory(), at: &copying{r: r, w: copyTo}}
	t := tar.NewReader(x.at)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read tar: %w", err)
		}
		x.sum.Entries++
		if h.ModTime.After(x.sum.Youngest) {
			x.sum.Youngest = h.ModTime
		}
		if err := x.entry(h); err != nil {
			return nil, fmt.Errorf("layer entry %q: %w", h.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, x.at); err != nil {
		return nil, fmt.Errorf("read tar: %w", err)
	}
	return x, nil
}

func directory() *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFDIR | 0o755, Children: map[string]*erofs.Inode{}}
}

func isWhiteout(i *erofs.Inode) bool { return i != nil && i.Type() == unix.S_IFCHR && i.Rdev == 0 }

func (x *indexer) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := checkEntry(h)
	if err != nil {
		return err
	}
	if name == "" {
		x.sum.Root = true
		return x.describe(x.root, h)
	}
	dirName, base := split(name)
	dir, err := x.enter(dirName)
	if err != nil {
		return err
	}
	switch {
	case base == opaqueName:
		x.sum.Whiteouts++
		x.opaque(dir)
		return nil
	case strings.HasPrefix(base, metaPrefix):
		x.sum.drop("aufs metadata " + base)
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		return x.whiteout(dir, base[len(whiteoutPrefix):])
	}
	return x.make(h, dir, name, base)
}

// enter returns the directory of an entry, making what is missing of it.
func (x *indexer) enter(name string) (*erofs.Inode, error) {
	at := x.root
	if name == "" {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		next := at.Children[part]
		if next == nil || isWhiteout(next) {
			if !x.o.Base {
				return nil, ErrNeedsParents
			}
			x.sum.Implied = true
			hidden := next != nil
			next = directory()
			at.Children[part] = next
			if hidden {
				x.opaque(next)
			}
		}
		if next.Type() == unix.S_IFLNK {
			return nil, ErrUnsuitable
		}
		if next.Type() != unix.S_IFDIR {
			return nil, fmt.Errorf("%q is not a directory", part)
		}
		at = next
	}
	return at, nil
}

func (x *indexer) opaque(i *erofs.Inode) {
	if i.Xattrs == nil {
		i.Xattrs = map[string]string{}
	}
	i.Xattrs[x.o.Overlay.opaque()] = "y"
}

func (x *indexer) whiteout(dir *erofs.Inode, base string) error {
	if base == "" || base == "." || base == ".." {
		return errors.New("a whiteout of no name")
	}
	x.sum.Whiteouts++
	have := dir.Children[base]
	switch {
	case have == nil:
		dir.Children[base] = &erofs.Inode{Mode: unix.S_IFCHR}
	case have.Type() == unix.S_IFDIR:
		x.opaque(have)
	}
	return nil
}

func (x *indexer) make(h *tar.Header, dir *erofs.Inode, name, base string) error {
	have := dir.Children[base]
	if h.Typeflag == tar.TypeDir {
		if have == nil || have.Type() != unix.S_IFDIR {
			hidden := isWhiteout(have)
			have = directory()
			dir.Children[base] = have
			if hidden {
				x.opaque(have)
			}
		}
		return x.describe(have, h)
	}
	i := &erofs.Inode{}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, '\x00':
		if isSparse(h) {
			return ErrUnsuitable
		}
		i.Mode, i.Size, i.Offset = unix.S_IFREG, uint64(h.Size), x.at.n
		x.sum.Size += h.Size
	case tar.TypeGNUSparse:
		return ErrUnsuitable
	case tar.TypeLink:
		target, err := x.find(h, name)
		if err != nil {
			return err
		}
		dir.Children[base] = target
		return nil
	case tar.TypeSymlink:
		i.Mode, i.Target = unix.S_IFLNK|0o777, h.Linkname
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		i.Mode = unix.S_IFIFO
		if h.Typeflag != tar.TypeFifo {
			i.Mode = unix.S_IFCHR
			if h.Typeflag == tar.TypeBlock {
				i.Mode = unix.S_IFBLK
			}
			i.Rdev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
			if isWhiteout(i) {
				return errors.New("a character device 0:0 is a whiteout of overlayfs, which an image must not have")
			}
		}
	default:
		return fmt.Errorf("unknown type %q of a tar entry", h.Typeflag)
	}
	dir.Children[base] = i
	return x.describe(i, h)
}

// find finds what a hard link refers to.
func (x *indexer) find(h *tar.Header, name string) (*erofs.Inode, error) {
	target, err := linkTarget(h, name)
	if err != nil {
		return nil, fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	at := x.root
	for part := range strings.SplitSeq(target, "/") {
		if at.Type() == unix.S_IFLNK {
			return nil, ErrUnsuitable
		}
		next := at.Children[part]
		switch {
		case isWhiteout(next):
			return nil, fmt.Errorf("hard link to %q: this layer deletes it", h.Linkname)
		case next == nil && !x.o.Base:
			return nil, ErrNeedsParents
		case next == nil:
			return nil, fmt.Errorf("hard link to %q, which is not there: %w", h.Linkname, os.ErrNotExist)
		}
		at = next
	}
	if at.Type() == unix.S_IFDIR {
		return nil, fmt.Errorf("hard link to %q: it is a directory", h.Linkname)
	}
	return at, nil
}

// describe gives an inode what a header says.
func (x *indexer) describe(i *erofs.Inode, h *tar.Header) error {
	if i.Type() != unix.S_IFLNK {
		i.Mode = i.Type() | uint32(h.Mode)&0o7777
	}
	i.UID, i.GID = uint32(h.Uid), uint32(h.Gid)
	t := h.ModTime
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	i.Sec, i.Nsec = t.Unix(), uint32(t.Nanosecond())
	opaque, was := i.Xattrs[x.o.Overlay.opaque()]
	i.Xattrs = nil
	if was {
		i.Xattrs = map[string]string{x.o.Overlay.opaque(): opaque}
	}
	taken, err := takenXattrs(h, x.sum.drop)
	if err != nil {
		return err
	}
	for key, value := range taken {
		if i.Xattrs == nil {
			i.Xattrs = map[string]string{}
		}
		i.Xattrs[key] = value
	}
	return nil
}
