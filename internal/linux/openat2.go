package linux

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// maxRetries bounds how often a lookup is repeated when the kernel says that
// the tree moved under it. Each try costs about a microsecond.
const maxRetries = 1000

// OpenInRoot opens path as if the directory root were "/": absolute symlinks
// and ".." stay inside it, and magic links of procfs are refused (openat2(2),
// RESOLVE_IN_ROOT, Linux 5.6). resolve adds further RESOLVE_ flags; O_CLOEXEC
// is always set. A lookup that lost a race with a rename (EAGAIN) or was
// interrupted is repeated, a bounded number of times. The error is an errno.
func OpenInRoot(root int, path string, flags int, resolve uint64) (int, error) {
	return openat2(root, path, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS|resolve)
}

// OpenBeneath opens path below dir without following any symlink, leaving dir
// or crossing a mount point. It is for trees whose every entry is known, such
// as a private procfs or a devpts. The error is an errno.
func OpenBeneath(dir int, path string, flags int) (int, error) {
	return openat2(dir, path, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV)
}

// OpenNoSymlinks opens path, relative to dir unless it is absolute, and fails
// with ELOOP when any part of it is a symlink. The error is an errno.
func OpenNoSymlinks(dir int, path string, flags int) (int, error) {
	return openat2(dir, path, flags, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
}

func openat2(dir int, path string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	if path == "" {
		path = "."
	}
	var err error
	for range maxRetries {
		var fd int
		fd, err = unix.Openat2(dir, path, &how)
		if err == nil {
			return fd, nil
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return -1, err
}

// Openat opens one name in the directory dir, with O_CLOEXEC, and repeats when
// interrupted. The error is an errno.
func Openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Readlinkat returns the target of the symlink name in the directory dir, or
// EINVAL when it is not a symlink.
func Readlinkat(dir int, name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// OpenRegularInRoot opens a regular file for reading, as OpenInRoot looks it
// up. What is something else, a device or a FIFO, is EINVAL, and is not opened.
func OpenRegularInRoot(root int, path string) (int, error) {
	fd, err := OpenInRoot(root, path, unix.O_PATH, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, unix.EINVAL
	}
	return Reopen(fd, unix.O_RDONLY)
}

// Reopen opens the file that fd refers to anew (it may be O_PATH, but no
// symlink), with O_CLOEXEC. The error is an errno.
func Reopen(fd, flags int) (int, error) {
	return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), flags|unix.O_CLOEXEC, 0)
}
