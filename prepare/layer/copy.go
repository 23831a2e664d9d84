// copy.go: from one tree into another, through a tar.

package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// CopyAttributes gives an open directory the owner, mode, extended attributes
// and times of another; the marks of overlayfs are left out. ids maps the
// owner; nil: it is the same.
func CopyAttributes(from, to *os.File, ids IDs) error {
	l := lower{fd: int(from.Fd())}
	if err := unix.Fstat(l.fd, &l.st); err != nil {
		return err
	}
	h, err := l.header("")
	if err != nil {
		return err
	}
	if ids != nil {
		uid, gid := ids(l.st.Uid, l.st.Gid)
		h.Uid, h.Gid = int(uid), int(gid)
	}
	u := &unpacker{o: Options{Overlay: Trusted}, root: int(to.Fd()), parentFD: -1}
	return u.finishDir("", h)
}

// Copy copies the tree at from into the empty directory at to, with the
// attributes of the root.
func Copy(ctx context.Context, from, to *os.File, o PackOptions) error {
	o.Root = true
	return copyTree(ctx, from, to, o, Options{Overlay: Trusted, Base: true, Plain: true})
}

func copyTree(ctx context.Context, from, to *os.File, o PackOptions, u Options) error {
	return through(ctx, func(w io.Writer) error {
		_, err := Pack(ctx, w, from, o)
		return err
	}, to, u)
}

// through unpacks what write writes.
func through(ctx context.Context, write func(w io.Writer) error, to *os.File, u Options) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		done <- err
	}()
	_, err := Unpack(ctx, r, to, u)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	r.CloseWithError(errStopped)
	werr := <-done
	if errors.Is(werr, errStopped) || errors.Is(err, werr) {
		return err // told already
	}
	return errors.Join(err, werr)
}

// errStopped is what the writer of a tar gets when its reader has stopped.
var errStopped = errors.New("the reader has stopped")

// CopyEntry copies what base is in the open directory from, with all below it,
// into the open directory to, as name. A directory that is there is merged
// with, anything else is replaced, when what replaces it is whole; until then
// that may have a name that begins with beside.
func CopyEntry(ctx context.Context, from *os.File, base string, to *os.File, name string, o PackOptions, beside string) error {
	return through(ctx, func(w io.Writer) error {
		p := &packer{ctx: ctx, o: o, w: tar.NewWriter(w), links: map[[2]uint64]string{}, buf: make([]byte, 256<<10)}
		if err := p.entry(int(from.Fd()), base, name); err != nil {
			return err
		}
		return p.w.Close()
	}, to, Options{Overlay: Trusted, Base: true, Plain: true, Into: true, Beside: beside})
}

// CopyInto copies what is below one open directory into another, which keeps
// its own attributes, as CopyEntry does it.
func CopyInto(ctx context.Context, from, to *os.File, o PackOptions, beside string) error {
	o.Root = false
	return copyTree(ctx, from, to, o, Options{Overlay: Trusted, Base: true, Plain: true, Into: true, Beside: beside})
}

// RemoveBeside removes what copies that were killed have left below root under
// names that begin with beside. Other mounts are not entered.
func RemoveBeside(root *os.File, beside string) error {
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return removeBeside(fd, beside)
}

func removeBeside(fd int, beside string) error {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, beside) {
			if err := unix.Unlinkat(fd, n, 0); err != nil {
				return &os.PathError{Op: "remove", Path: n, Err: err}
			}
			continue
		}
		sub, err := linux.OpenBeneath(fd, n, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EXDEV || err == unix.ENOENT {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "open", Path: n, Err: err}
		}
		if err := removeBeside(sub, beside); err != nil {
			return err
		}
	}
	return nil
}
