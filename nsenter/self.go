package nsenter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Self returns gourd's own binary as a file that no container can write to,
// for Request.Exe (CVE-2019-5736: a container opened the runtime's binary
// through /proc/PID/exe and overwrote it). The caller closes it.
//
// joined says that a user or a pid namespace is joined. Then processes of the
// container can look at init from the start, and the file is a sealed memfd
// whose mode is 0111 and whose owner the container does not map, unless gourd
// is run by a user whom it maps: execve makes a process dumpable again, but
// not if it may not read what it executes, and then the kernel keeps its
// memory out of the container's user namespace too.
//
// Otherwise it is the binary itself, seen through an overlay without an upper
// layer: the file below cannot be reached through it, and nothing is copied.
// Where overlays cannot be mounted (rootless), it is the memfd again.
func Self(joined bool) (*os.File, error) {
	defer trace.Begin("open gourd's own binary").End()
	if !joined {
		if f, err := overlaySelf(); err == nil {
			return f, nil
		}
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	return immutable("gourd", func(fd int) error { return copyFile(fd, int(exe.Fd())) })
}

// overlaySelf returns the binary in a read-only overlay mount of its
// directory, which is attached nowhere and lives as long as the file.
func overlaySelf() (*os.File, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	mnt, err := lowerOnly(dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mnt)
	fd, err := unix.Openat(mnt, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s in an overlay: %w", path, err)
	}
	// The path may name another file by now, after an upgrade, or have been
	// that of a removed one: "/usr/bin/gourd (deleted)".
	if err := sameFile(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// lowerOnly mounts dir in an overlay without an upper layer. Such an overlay
// needs a second directory below, which may not be an ancestor or a descendant
// of the first. Only root can write to these, and as the first layer wins,
// nothing in them is ever seen in place of the binary.
func lowerOnly(dir string) (int, error) {
	err := error(unix.ENOENT)
	for _, second := range [...]string{"/dev", "/etc", "/usr"} {
		if within(dir, second) || within(second, dir) {
			continue
		}
		var mnt int
		// xino off: otherwise the kernel logs that it cannot have it.
		mnt, err = linux.NewFilesystem("overlay", "", []linux.Param{
			{Key: "lowerdir", Value: escapeLower(dir) + ":" + second},
			{Key: "xino", Value: "off"},
		}, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
		if err == nil {
			return mnt, nil
		}
	}
	return -1, fmt.Errorf("mount an overlay of %s: %w", dir, err)
}

// escapeLower returns path as a lowerdir, in which a colon separates.
func escapeLower(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, `\`, `\\`), ":", `\:`)
}

// within reports whether the clean absolute path p is dir or below it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// sameFile reports as an error if fd is not the executable of this process.
// The device differs in an overlay; the rest does not.
func sameFile(fd int) error {
	var own, st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &own); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != own.Ino || st.Size != own.Size || st.Mtim != own.Mtim || st.Ctim != own.Ctim || st.Mode != own.Mode {
		return errors.New("the file is not the executable of this process")
	}
	return nil
}

// copyFile copies all of the file from to fd, within the kernel.
func copyFile(fd, from int) error {
	for {
		n, err := unix.Sendfile(fd, from, nil, 1<<30)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("copy: %w", err)
		case n == 0:
			return nil
		}
	}
}
