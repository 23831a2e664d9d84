// lower.go: what the layers below have under a name.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// lower is an entry of a layer below.
type lower struct {
	fd int // O_PATH
	st unix.Stat_t
}

// lookup finds name in the merged view of parents, the topmost first; nil:
// there is none. No symlink is followed.
func lookup(parents []*os.File, ns Namespace, name string) (*lower, error) {
	for _, p := range parents {
		l, end, err := lookupOne(int(p.Fd()), ns, name)
		if err != nil {
			return nil, &os.PathError{Op: "look up in a lower layer", Path: name, Err: err}
		}
		if l != nil || end {
			return l, nil
		}
	}
	return nil, nil
}

// lookupOne looks into one layer; end says that those below it do not count.
func lookupOne(root int, ns Namespace, name string) (_ *lower, end bool, err error) {
	dir, err := unix.Openat(root, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, err
	}
	defer func() { unix.Close(dir) }()
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if opaque, err := isOpaque(dir, ns); err != nil {
			return nil, false, err
		} else if opaque {
			end = true
		}
		fd, err := unix.Openat(dir, part, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT {
			return nil, end, nil
		}
		if err != nil {
			return nil, false, err
		}
		l := &lower{fd: fd}
		if err := unix.Fstat(fd, &l.st); err != nil {
			unix.Close(fd)
			return nil, false, err
		}
		isDir := l.st.Mode&unix.S_IFMT == unix.S_IFDIR
		switch {
		case l.st.Mode&unix.S_IFMT == unix.S_IFCHR && l.st.Rdev == 0: // a whiteout
			unix.Close(fd)
			return nil, true, nil
		case i == len(parts)-1:
			return l, true, nil
		case !isDir:
			unix.Close(fd)
			return nil, true, nil
		}
		unix.Close(dir)
		dir = fd
	}
	return nil, end, nil
}

// isOpaque tells whether a directory hides those below it. fd may be O_PATH.
func isOpaque(fd int, ns Namespace) (bool, error) {
	var buf [1]byte
	n, err := unix.Lgetxattr(procPath(fd, "."), ns.opaque(), buf[:])
	switch err {
	case nil:
		return n == 1 && buf[0] == 'y', nil
	case unix.ENODATA, unix.ENOTSUP, unix.ERANGE:
		return false, nil
	}
	return false, err
}

// header returns what a tar would say of the entry.
func (l *lower) header(name string) (*tar.Header, error) {
	h := &tar.Header{
		Name: name, Mode: int64(l.st.Mode & 0o7777), Uid: int(l.st.Uid), Gid: int(l.st.Gid),
		ModTime: time.Unix(l.st.Mtim.Unix()), AccessTime: time.Unix(l.st.Atim.Unix()),
	}
	switch l.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
	case unix.S_IFREG:
		h.Typeflag = tar.TypeReg
		h.Size = l.st.Size
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		target, err := linux.Readlinkat(l.fd, "")
		if err != nil {
			return nil, err
		}
		h.Linkname = target
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if l.st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(l.st.Rdev)), int64(unix.Minor(l.st.Rdev))
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, fmt.Errorf("a file of type %o", l.st.Mode&unix.S_IFMT)
	}
	if h.Typeflag == tar.TypeSymlink {
		return h, nil // the only attributes that a symlink may have are trusted or security; no layer has them
	}
	attrs, err := Xattrs(l.fd)
	if err != nil {
		return nil, err
	}
	for k, v := range attrs {
		if OverlayXattr(k) {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+k] = v
	}
	return h, nil
}

// selinuxLabel is the attribute that holds a file's SELinux label. It belongs to the
// host, whose policy has it, and to no image.
const selinuxLabel = "security.selinux"

// Xattrs returns the extended attributes of an open file, which may be O_PATH
// but no symlink. On a host with SELinux every file has a label, which is left
// out.
func Xattrs(fd int) (map[string]string, error) {
	return readXattrs(fmt.Sprintf("/proc/self/fd/%d", fd), unix.Listxattr, unix.Getxattr)
}

// xattrsAt is Xattrs for a path, whose last part is not followed.
func xattrsAt(p string) (map[string]string, error) {
	return readXattrs(p, unix.Llistxattr, unix.Lgetxattr)
}

func readXattrs(p string, listxattr func(string, []byte) (int, error), getxattr func(string, string, []byte) (int, error)) (map[string]string, error) {
	size, err := listxattr(p, nil)
	if err == unix.ENOTSUP || size == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	list := make([]byte, size+1024)
	if size, err = listxattr(p, list); err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	attrs := map[string]string{}
	for _, key := range strings.Split(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if key == "" || key == selinuxLabel {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := getxattr(p, key, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s: %w", key, err)
		}
		attrs[key] = string(value[:n])
	}
	return attrs, nil
}
