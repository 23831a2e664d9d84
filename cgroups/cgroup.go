package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNone is the error of an operation on the cgroup of a container that has
// none of its own.
var ErrNone = errors.New("the container has no cgroup of its own")

// ErrNotMade is the error of an attempt to kill all that is in a cgroup that
// was there before the container.
var ErrNotMade = errors.New("gourd did not make this cgroup")

// Cgroup is a container's cgroup, held open by its directory. It belongs to
// one goroutine at a time.
type Cgroup struct {
	rec     Record
	fd      int             // the directory; -1 without a cgroup, or when it is gone
	fresh   bool            // just made, so nothing is attached to it
	enabled []enableFailure // why controllers are missing
	absent  bool            // there is none, and never was
	warning string          // why the device rules are not in force
}

// Record is what has to be remembered of a Cgroup to Open it again. It is
// written as JSON.
type Record struct {
	// Path is the directory, absolute on the host. "" without a cgroup.
	Path string `json:"path,omitempty"`
	// Root is the cgroup2 mount point that Path is below.
	Root string `json:"root,omitempty"`
	// Made are the directories that gourd made, Path and parents of it, the
	// deepest last. Nothing else is killed or removed.
	Made []string `json:"made,omitempty"`
	// Inode is Path's inode number. On 64-bit kernels the kernel does not use
	// one twice (kernfs), so another cgroup of the same name is not taken for
	// the container's.
	Inode uint64 `json:"inode,omitempty"`
	// Manager is ManagerFS, ManagerSystemd or ManagerNone.
	Manager string `json:"manager"`
	// Scope is the name of the systemd unit, for ManagerSystemd; User is set
	// when it is one of the user's own systemd.
	Scope string `json:"scope,omitempty"`
	User  bool   `json:"user,omitempty"`
}

// Record returns what Open needs.
func (c *Cgroup) Record() Record { return c.rec }

// FD returns the directory's fd for CLONE_INTO_CGROUP, or -1. It stays the
// Cgroup's.
func (c *Cgroup) FD() int { return c.fd }

// Path returns the host's absolute path of the directory, "" without one.
func (c *Cgroup) Path() string { return c.rec.Path }

// Close closes the directory; the cgroup stays.
func (c *Cgroup) Close() error {
	if c.fd < 0 {
		return nil
	}
	fd := c.fd
	c.fd = -1
	return unix.Close(fd)
}

// Open opens the cgroup of rec. If it is gone, or if there is another cgroup in
// its place, that is no error: such a Cgroup is neither populated nor frozen,
// has nothing to kill, and Remove removes what is left of its parents.
func Open(rec Record) (*Cgroup, error) {
	c := &Cgroup{rec: rec, fd: -1, absent: rec.Path == ""}
	if c.absent {
		return c, nil
	}
	fd, err := openDir(rec.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open cgroup %s: stat: %w", rec.Path, err)
	}
	if rec.Inode != 0 && rec.Inode != st.Ino {
		unix.Close(fd)
		return c, nil
	}
	c.fd = fd
	return c, nil
}

// Attach opens the directory dir, which a manager has just made, as the
// container's cgroup. For package cgroups/systemd.
func Attach(rec Record) (*Cgroup, error) {
	fd, err := openDir(rec.Path)
	if err != nil {
		return nil, err
	}
	c := &Cgroup{rec: rec, fd: fd}
	if err := c.identify(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return c, nil
}

// identify notes the directory's inode number.
func (c *Cgroup) identify() error {
	var st unix.Stat_t
	if err := unix.Fstat(c.fd, &st); err != nil {
		return fmt.Errorf("open cgroup %s: stat: %w", c.rec.Path, err)
	}
	c.rec.Inode = st.Ino
	return nil
}

// openDir opens a directory and makes sure that it is a cgroup2 one.
func openDir(dir string) (int, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return -1, fmt.Errorf("open cgroup %q: %w", dir, fs.ErrInvalid)
	}
	fd, err := openAt(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, fmt.Errorf("open cgroup: %w", err)
	}
	if err := checkMagic(fd, dir); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func checkMagic(fd int, dir string) error {
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return fmt.Errorf("open cgroup %s: statfs: %w", dir, err)
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("open cgroup %s: not on a cgroup2 filesystem: %w", dir, unix.EINVAL)
	}
	return nil
}

// shown returns the cgroup's path below the cgroup2 root, as people know it.
func (c *Cgroup) shown() string {
	if p, ok := relative(c.rec.Root, c.rec.Path); ok {
		return p
	}
	return c.rec.Path
}

// relative returns dir as an absolute path below root.
func relative(root, dir string) (string, bool) {
	if root == "" || !within(dir, root) {
		return "", false
	}
	return path.Join("/", dir[len(root):]), true
}

// made tells whether gourd made the cgroup itself, not only parents of it.
func (c *Cgroup) made() bool {
	n := len(c.rec.Made)
	return n > 0 && c.rec.Made[n-1] == c.rec.Path
}

// check refuses an operation on a cgroup that there is none of.
func (c *Cgroup) check(op string) error {
	switch {
	case c.absent:
		return fmt.Errorf("%s: %w", op, ErrNone)
	case c.fd < 0:
		return fmt.Errorf("%s cgroup %s: %w", op, c.rec.Path, fs.ErrNotExist)
	}
	return nil
}

// gone tells whether err says that the directory has been removed meanwhile:
// files of a removed cgroup fail with ENODEV.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
