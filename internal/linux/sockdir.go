package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// sunPathMax is the longest path that fits a socket address with the byte 0
// that ends it (unix(7)).
const sunPathMax = 107

// ListenUnix binds a stream socket to dir/name and listens on it. dir may be
// longer than a socket address. The socket is blocking and close-on-exec.
func ListenUnix(dir, name string, backlog int) (*os.File, error) {
	path := filepath.Join(dir, name)
	fd, err := withAddress(dir, name, func(fd int, sa *unix.SockaddrUnix) error {
		if err := unix.Bind(fd, sa); err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
		if err := unix.Listen(fd, backlog); err != nil {
			return fmt.Errorf("listen on %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// ConnectUnix connects a stream socket to dir/name. dir may be longer than a
// socket address. The socket is blocking and close-on-exec.
func ConnectUnix(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	fd, err := withAddress(dir, name, func(fd int, sa *unix.SockaddrUnix) error {
		for {
			err := unix.Connect(fd, sa)
			if err == nil {
				return nil
			}
			// Only a full backlog makes connect wait and so lets a signal
			// interrupt it; then nothing has been connected (unix(7)).
			if err != unix.EINTR {
				return fmt.Errorf("connect to %s: %w", path, err)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// DialUnix connects a stream socket to path, where a program of somebody else's
// listens. Connect would wait for ever if that has stopped accepting: a full
// backlog is an error instead (EAGAIN). path may be longer than a socket
// address. The socket is blocking and close-on-exec.
func DialUnix(path string) (*os.File, error) {
	fd, err := withAddress(filepath.Dir(path), filepath.Base(path), func(fd int, sa *unix.SockaddrUnix) error {
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		switch err := unix.Connect(fd, sa); err {
		case nil:
			return unix.SetNonblock(fd, false)
		case unix.EAGAIN:
			return Worded(unix.EAGAIN, "its queue of connections is full: whoever listens there does not accept them")
		case unix.ENOENT:
			return Worded(unix.ENOENT, "there is no such socket")
		default:
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// withAddress makes a socket and calls f with it and with an address that
// leads to dir/name: the path itself, or where that is too long the way
// through /proc/self/fd and an fd of dir.
func withAddress(dir, name string, f func(fd int, sa *unix.SockaddrUnix) error) (_ int, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a unix socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	path := filepath.Join(dir, name)
	if len(path) > sunPathMax {
		dirfd, err := openRetry(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: dir, Err: err}
		}
		defer unix.Close(dirfd)
		path = "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + name
	}
	return fd, f(fd, &unix.SockaddrUnix{Name: path})
}
