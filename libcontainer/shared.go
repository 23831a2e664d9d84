package libcontainer

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// shared.go: the mounts of a container whose mount namespace is not its own
// (rootfs.Plan.Shared). They do not go with its processes, so they are taken
// away by whoever deletes it.

// sharedMounts is what is known of them: all are on or below one on root.path.
type sharedMounts struct {
	Root  string // root.path, absolute
	Path  string `json:",omitempty"` // of the joined mount namespace; empty: it is gourd's own
	NS    uint64 // inode of the mount namespace
	Under uint64 // id of the mount that root.path was on before
	Dev   uint64 // its device
}

// lookShared notes what root.path is before the container's mounts are made.
// joined is the file of a joined mount namespace, -1 if gourd's is inherited.
func lookShared(root, path string, joined int) (*sharedMounts, error) {
	m := &sharedMounts{Root: root, Path: path}
	var ns unix.Stat_t
	var err error
	if joined < 0 {
		err = unix.Stat("/proc/self/ns/mnt", &ns)
	} else {
		err = unix.Fstat(joined, &ns)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the mount namespace: %w", err)
	}
	m.NS = ns.Ino
	err = inMountNS(joined, func() error {
		m.Under, m.Dev, _, err = mountAt(root)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("root.path %s: look at it before it is mounted over: %w", root, err)
	}
	return m, nil
}

// remove takes the mounts away, if they are there. Nil is a container with a
// mount namespace of its own.
func (m *sharedMounts) remove() error {
	if m == nil {
		return nil
	}
	path := m.Path
	if path == "" {
		path = "/proc/self/ns/mnt"
	}
	file, err := os.Open(path)
	if err != nil {
		return nil // nobody can get there any more
	}
	defer file.Close()
	fd := int(file.Fd())
	var ns unix.Stat_t
	if err := unix.Fstat(fd, &ns); err != nil || ns.Ino != m.NS {
		return nil // another one has taken its place
	}
	if m.Path == "" {
		fd = -1
	}
	return inMountNS(fd, func() error {
		id, dev, top, err := mountAt(m.Root)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return fmt.Errorf("root.path %s: look at what is mounted on it: %w", m.Root, err)
		}
		// Ours is a copy of what was there: of the same device. The caller may have
		// unmounted it, and mounted something else.
		if id == m.Under || !top || dev != m.Dev {
			return nil
		}
		if err := unix.Unmount(m.Root, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("root.path %s: umount: %w", m.Root, err)
		}
		return nil
	})
}

// mountAt returns the id and the device of the mount that path is on, and
// whether path is where it is mounted.
func mountAt(path string) (id, dev uint64, top bool, err error) {
	fd, err := linux.OpenNoSymlinks(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return 0, 0, false, err
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, 0, false, err
	}
	return st.Mnt_id, unix.Mkdev(st.Dev_major, st.Dev_minor), st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// inMountNS calls do in the mount namespace of fd, or here if fd is -1.
func inMountNS(fd int, do func() error) error {
	if fd < 0 {
		return do()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and it ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNS)
		}
		if err != nil {
			done <- fmt.Errorf("join the mount namespace: %w", err)
			return
		}
		done <- do()
	}()
	return <-done
}
