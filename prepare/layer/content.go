// content.go: the content of regular files, with its holes.

package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// file writes a regular file.
func (u *unpacker) file(h *tar.Header, content io.Reader, parent int, name, base string) error {
	fd, nameless, err := u.create(parent, name, base)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := u.write(fd, content, h.Size); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := u.note(fd); err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
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
	if nameless {
		if err := unix.Linkat(unix.AT_FDCWD, procPath(fd, ""), parent, base, unix.AT_SYMLINK_FOLLOW); err != nil {
			return &os.PathError{Op: "link", Path: name, Err: err}
		}
	}
	return u.times(h, parent, name, base)
}

// create makes a file to write to. What is to be whole at every moment has no
// name until then, where the file system can (O_TMPFILE): a kill leaves nothing.
func (u *unpacker) create(parent int, name, base string) (fd int, nameless bool, err error) {
	if u.o.Beside != "" {
		if fd, err = unix.Openat(parent, ".", unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600); err == nil {
			return fd, true, nil
		}
	}
	err = u.fresh(parent, name, base, func() (err error) {
		fd, err = unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd, false, err
}

// note keeps the digest of a file that has been written.
func (u *unpacker) note(fd int) error {
	if u.hash == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	u.sum.Contents[st.Ino] = [sha256.Size]byte(u.hash.Sum(nil))
	return nil
}

// hole is the size of a run of zeros that is not written, in bytes: a block of
// the usual file systems.
const hole = 4096

// write copies size bytes, leaving holes where there are but zeros: a sparse
// file of the image stays one.
func (u *unpacker) write(fd int, r io.Reader, size int64) error {
	if u.hash != nil {
		u.hash.Reset()
	}
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
		if u.hash != nil {
			u.hash.Write(u.buf[:n])
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
