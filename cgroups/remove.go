package cgroups

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Remove removes the directories that gourd made, and first what the container
// made below its cgroup, the deepest first. It waits until the processes in it,
// which must have been killed, are gone. A parent that another container uses
// by now is left to that one. What is gone already is no error.
func (c *Cgroup) Remove() error {
	defer trace.Begin("remove the cgroup").End()
	if c.absent {
		return nil
	}
	dirs := c.rec.Made
	if c.made() {
		if c.fd >= 0 {
			if err := c.removeOwn(); err != nil {
				return fmt.Errorf("remove cgroup %s: %w", c.rec.Path, err)
			}
		}
		// A parent may have been made by another gourd at the same time, and
		// not have been marked yet when this one came by.
		dirs = append(markedAbove(dirs[0]), dirs[:len(dirs)-1]...)
	}
	return removeParents(dirs)
}

// markedAbove returns the directories above dir that a gourd made, without one
// in between that none made.
func markedAbove(dir string) []string {
	var dirs []string
	for p := path.Dir(dir); p != "/"; p = path.Dir(p) {
		fd, err := openDir(p)
		if gone(err) {
			continue
		}
		if err != nil {
			break // above the mount of cgroup2
		}
		made := markOf(fd) != ""
		unix.Close(fd)
		if !made {
			break
		}
		dirs = append(dirs, p)
	}
	slices.Reverse(dirs)
	return dirs
}

// removeParents removes the directories, the last one first, as far as nobody
// uses them.
func removeParents(dirs []string) error {
	for i := len(dirs) - 1; i >= 0; i-- {
		err := removeUnused(dirs[i])
		switch {
		case err == nil, gone(err):
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY):
			return nil // in use, and so is all above it
		case isDenied(err):
			return nil // another user's by now
		default:
			return fmt.Errorf("remove cgroup %s: %w", dirs[i], err)
		}
	}
	return nil
}

// removeUnused removes dir unless it has processes or sub-cgroups, or a
// container is about to be created in it, which holds its lock. Others that
// remove it share theirs: the last one of them must not be kept out.
func removeUnused(dir string) error {
	fd, err := openAt(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return unix.EBUSY
	}
	return ignoringEINTR(func() error { return unix.Rmdir(dir) })
}

// removeOwn removes the container's cgroup with all below it.
func (c *Cgroup) removeOwn() error {
	deadline := time.Now().Add(patience)
	for {
		err := ignoringEINTR(func() error { return unix.Rmdir(c.rec.Path) })
		if err == nil || gone(err) {
			return c.Close()
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		// It has processes or sub-cgroups. A frozen process that was killed
		// dies all the same, so no thawing is needed.
		if err := c.await("populated", false); err != nil && !gone(err) {
			if err == errPatience {
				pids, _ := c.Procs()
				return fmt.Errorf("it still has processes %v: %w", pids, unix.EBUSY)
			}
			return err
		}
		err = walk(c.fd, func(int) error { return nil }, func(parent int, name string) error {
			err := ignoringEINTR(func() error { return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) })
			if err != nil && !gone(err) {
				return fmt.Errorf("sub-cgroup %s: %w", name, err)
			}
			return nil
		})
		switch {
		case err == nil || gone(err):
		case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY):
			// Somebody has put a process or a cgroup in again.
		default:
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it is filled again and again: %w", unix.EBUSY)
		}
	}
}

// RemoveHalfMade removes what a Create that was killed has left of the cgroup
// dir, its processes and the parents that nobody uses included; nothing if dir
// is not marked as this owner's.
func RemoveHalfMade(dir, owner string) error {
	fd, err := openDir(dir)
	switch {
	case err == nil && markOf(fd) != owner:
		return unix.Close(fd)
	case err == nil:
		c := &Cgroup{fd: fd, rec: Record{Path: dir, Made: []string{dir}, Manager: ManagerFS}}
		if err := errors.Join(c.Kill(), c.Remove()); err != nil {
			c.Close()
			return err
		}
	case !gone(err):
		return err
	}
	return removeParents(markedAbove(dir))
}

// markNames are the extended attributes by which one gourd knows the directories
// that another one made, so that the last container below a parent removes it,
// and whose they are (cgroup2 takes trusted.* from 4.5 and user.* from 5.7 on).
var markNames = [...]string{"trusted.gourd", "user.gourd"}

// mark marks a directory that was made for this owner.
func mark(fd int, owner string) {
	if owner == "" {
		owner = "1"
	}
	if unix.Fsetxattr(fd, markNames[0], []byte(owner), 0) != nil {
		// Unprivileged. Where that fails too the parent is simply not shared.
		_ = unix.Fsetxattr(fd, markNames[1], []byte(owner), 0)
	}
}

// markOf returns for whom a gourd made the directory; "" if none did.
func markOf(fd int) string {
	var b [unix.PathMax]byte
	for _, name := range markNames {
		if n, err := unix.Fgetxattr(fd, name, b[:]); err == nil && n > 0 {
			return string(b[:n])
		}
	}
	return ""
}
