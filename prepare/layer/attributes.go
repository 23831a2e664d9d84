// attributes.go: owner, mode, extended attributes and times.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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
// descriptor (setxattrat is Linux 6.13). Without base it is the open file itself.
func procPath(dir int, base string) string {
	p := "/proc/self/fd/" + strconv.Itoa(dir)
	if base != "" {
		p += "/" + base
	}
	return p
}

func chownError(name string, h *tar.Header, err error) error {
	if err == unix.EINVAL {
		return fmt.Errorf("chown %s to %d:%d, which is not mapped in this user namespace: %w", name, h.Uid, h.Gid, err)
	}
	return fmt.Errorf("chown %s to %d:%d: %w", name, h.Uid, h.Gid, err)
}

// xattrs sets the extended attributes that an image may have.
func (u *unpacker) xattrs(h *tar.Header, set func(key string, value []byte) error) error {
	taken, err := takenXattrs(h, u.sum.drop)
	if err != nil {
		return err
	}
	for key, value := range taken {
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
