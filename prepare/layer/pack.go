// pack.go: a directory becomes a tar.

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// PackOptions are how to pack.
type PackOptions struct {
	// Overlay is set for the writable layer of an overlay: its whiteouts and
	// opaque directories become those of the image-spec. For a plain tree it
	// is "".
	Overlay Namespace
	// IDs maps owner and group; nil: they are as they are.
	IDs IDs
	// Skip leaves out a path, and what is below it. Nil: nothing.
	Skip func(name string) bool
	// Root leaves out the entry of the root directory when it is false.
	Root bool
	// Clamp is the latest time that an entry gets; zero: none.
	Clamp time.Time
}

// PackSummary is what packing has found.
type PackSummary struct {
	Entries int
	Sockets int // left out: a tar has no sockets
}

type packer struct {
	ctx   context.Context
	o     PackOptions
	w     *tar.Writer
	sum   PackSummary
	links map[[2]uint64]string // the first name of an inode with several
	buf   []byte
}

// Pack writes the tree at root as a tar, in a fixed order, so that the same
// tree gives the same bytes. Other mounts below it are not entered.
func Pack(ctx context.Context, w io.Writer, root *os.File, o PackOptions) (*PackSummary, error) {
	p := &packer{ctx: ctx, o: o, w: tar.NewWriter(w), links: map[[2]uint64]string{}, buf: make([]byte, 256<<10)}
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root.Name(), Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := p.dir(fd, &st, ""); err != nil {
		return nil, err
	}
	return &p.sum, p.w.Close()
}

// dir writes a directory and what is in it. It owns fd.
func (p *packer) dir(fd int, st *unix.Stat_t, name string) error {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if name != "" || p.o.Root {
		l := lower{fd: fd, st: *st}
		if err := p.header(&l, name); err != nil {
			return err
		}
	}
	if p.o.Overlay != "" {
		opaque, err := isOpaque(fd, p.o.Overlay)
		if err != nil {
			return &os.PathError{Op: "read attributes", Path: name, Err: err}
		}
		if opaque {
			if err := p.mark(path.Join(name, opaqueName), st); err != nil {
				return err
			}
		}
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list %q: %w", name, err)
	}
	sort.Strings(names)
	for _, n := range names {
		full := n
		if name != "" {
			full = name + "/" + n
		}
		if p.o.Skip != nil && p.o.Skip(full) {
			continue
		}
		if p.o.Overlay != "" && strings.HasPrefix(n, whiteoutPrefix) {
			return fmt.Errorf("pack %q: a layer cannot hold a name that begins with %s", full, whiteoutPrefix)
		}
		if err := p.entry(fd, n, full); err != nil {
			return err
		}
	}
	return nil
}

// entry writes one entry of an open directory.
func (p *packer) entry(dir int, base, name string) error {
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // removed meanwhile
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	l := lower{fd: fd}
	if err := unix.Fstat(fd, &l.st); err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	switch l.st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		p.sum.Sockets++
		return nil
	case unix.S_IFDIR:
		sub, err := linux.OpenBeneath(dir, base, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == unix.EXDEV { // a mount point: the directory alone
			return p.header(&l, name)
		}
		if err != nil {
			return &os.PathError{Op: "open", Path: name, Err: err}
		}
		return p.dir(sub, &l.st, name)
	case unix.S_IFCHR:
		if l.st.Rdev == 0 && p.o.Overlay != "" {
			d, b := split(name)
			return p.mark(path.Join(d, whiteoutPrefix+b), &l.st)
		}
	}
	if l.st.Nlink > 1 {
		key := [2]uint64{l.st.Dev, l.st.Ino}
		if first, ok := p.links[key]; ok {
			return p.link(&l, name, first)
		}
		p.links[key] = name
	}
	return p.header(&l, name)
}

// mark writes a whiteout.
func (p *packer) mark(name string, st *unix.Stat_t) error {
	p.sum.Entries++
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, ModTime: p.clamp(time.Unix(st.Mtim.Unix())), Format: tar.FormatPAX}
	return p.w.WriteHeader(h)
}

func (p *packer) link(l *lower, name, first string) error {
	p.sum.Entries++
	h, err := p.describe(l, name)
	if err != nil {
		return err
	}
	h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
	return p.w.WriteHeader(h)
}

func (p *packer) describe(l *lower, name string) (*tar.Header, error) {
	h, err := l.header(name)
	if err != nil {
		return nil, fmt.Errorf("pack %q: %w", name, err)
	}
	// Access times would make every tar another.
	h.AccessTime = time.Time{}
	h.ModTime = p.clamp(h.ModTime)
	h.Format = tar.FormatPAX
	if p.o.IDs != nil {
		uid, gid := p.o.IDs(l.st.Uid, l.st.Gid)
		h.Uid, h.Gid = int(uid), int(gid)
		for _, key := range []string{paxXattr + aclAccess, paxXattr + aclDefault} {
			if v, ok := h.PAXRecords[key]; ok {
				if h.PAXRecords[key], err = mapACL(v, p.o.IDs); err != nil {
					return nil, fmt.Errorf("pack %q: %w", name, err)
				}
			}
		}
		if v, ok := h.PAXRecords[paxXattr+capability]; ok {
			if h.PAXRecords[paxXattr+capability], err = mapCapability(v, p.o.IDs); err != nil {
				return nil, fmt.Errorf("pack %q: %w", name, err)
			}
		}
	}
	if h.Typeflag == tar.TypeDir {
		if h.Name == "" {
			h.Name = "."
		}
		h.Name += "/"
	}
	return h, nil
}

func (p *packer) clamp(t time.Time) time.Time {
	if !p.o.Clamp.IsZero() && t.After(p.o.Clamp) {
		return p.o.Clamp
	}
	return t
}

// header writes an entry with its content.
func (p *packer) header(l *lower, name string) error {
	h, err := p.describe(l, name)
	if err != nil {
		return err
	}
	p.sum.Entries++
	if h.Typeflag != tar.TypeReg {
		return p.w.WriteHeader(h)
	}
	fd, err := linux.Reopen(l.fd, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.w}, io.LimitReader(Until{p.ctx, f}, h.Size), p.buf)
	if err == nil && n < h.Size {
		err = errors.New("it has become shorter meanwhile")
	}
	if err != nil {
		return &fs.PathError{Op: "pack", Path: name, Err: err}
	}
	return nil
}

// onlyWriter hides ReadFrom, which would not use the buffer.
type onlyWriter struct{ io.Writer }
