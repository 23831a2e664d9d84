// diff.go: what a writable layer changes.

package layer

import (
	"os"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Change is one difference.
type Change struct {
	Path string `json:"path"`
	Kind Kind   `json:"kind"`
}

// Kind is what has become of a path.
type Kind string

// The kinds.
const (
	Added   Kind = "added"
	Changed Kind = "changed"
	Deleted Kind = "deleted"
)

// Diff lists what the layer at upper changes of the layers below, the topmost
// first. A directory that is there only since something below it has changed
// counts as changed. skip leaves out paths, without a slash before them.
func Diff(upper *os.File, parents []*os.File, ns Namespace, skip map[string]bool) ([]Change, error) {
	d := differ{parents: parents, ns: ns, skip: skip}
	fd, err := unix.Openat(int(upper.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := d.dir(fd, ""); err != nil {
		return nil, err
	}
	sort.Slice(d.out, func(a, b int) bool { return d.out[a].Path < d.out[b].Path })
	return d.out, nil
}

type differ struct {
	parents []*os.File
	ns      Namespace
	skip    map[string]bool
	out     []Change
}

func (d *differ) add(path string, k Kind) { d.out = append(d.out, Change{"/" + path, k}) }

// dir looks at a directory of the upper layer. It owns fd.
func (d *differ) dir(fd int, name string) error {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	opaque, err := isOpaque(fd, d.ns)
	if err != nil {
		return err
	}
	if opaque {
		have := map[string]bool{}
		for _, n := range names {
			have[n] = true
		}
		below, err := merged(d.parents, d.ns, name)
		if err != nil {
			return err
		}
		for n := range below {
			if !have[n] {
				d.add(join(name, n), Deleted)
			}
		}
	}
	for _, n := range names {
		if err := d.entry(fd, n, join(name, n)); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) entry(dir int, base, name string) error {
	if d.skip[name] {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	low, err := lookup(d.parents, d.ns, name)
	if err != nil {
		return err
	}
	if low != nil {
		unix.Close(low.fd)
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		if low != nil {
			d.add(name, Deleted)
		}
		return nil
	case low == nil:
		d.add(name, Added)
	default:
		d.add(name, Changed)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := linux.OpenBeneath(dir, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.EXDEV {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	return d.dir(fd, name)
}

// merged lists the names in a directory of the merged layers.
func merged(parents []*os.File, ns Namespace, name string) (map[string]bool, error) {
	out := map[string]bool{}
	hidden := map[string]bool{}
	for _, p := range parents {
		end := false
		fd := -1
		if name == "" {
			var err error
			if fd, err = unix.Openat(int(p.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
				return nil, err
			}
		} else {
			l, stop, err := lookupOne(int(p.Fd()), ns, name)
			if err != nil {
				return nil, err
			}
			end = stop && l == nil
			if l != nil {
				fd, err = linux.Reopen(l.fd, unix.O_RDONLY|unix.O_DIRECTORY)
				unix.Close(l.fd)
				if err == unix.ENOTDIR {
					return out, nil
				}
				if err != nil {
					return nil, err
				}
			}
		}
		if fd >= 0 {
			opaque, err := isOpaque(fd, ns)
			f := os.NewFile(uintptr(fd), name)
			names, rerr := f.Readdirnames(-1)
			for _, n := range names {
				var st unix.Stat_t
				if serr := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); serr != nil {
					continue
				}
				if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
					hidden[n] = true
				} else if !hidden[n] {
					out[n] = true
				}
			}
			f.Close()
			if err != nil {
				return nil, err
			}
			if rerr != nil {
				return nil, rerr
			}
			end = end || opaque
		}
		if end {
			break
		}
	}
	return out, nil
}

func join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// Usage is the size of a tree in bytes: the sum of its files' sizes, and what
// it takes on disk. A file with several names counts once, and other mounts
// below the tree do not count.
type Usage struct {
	Apparent int64 `json:"apparent"`
	Disk     int64 `json:"disk"`
}

// Measure walks a tree.
func Measure(root *os.File) (Usage, error) {
	m := measurer{seen: map[[2]uint64]bool{}}
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Usage{}, err
	}
	err = m.dir(fd)
	return m.u, err
}

type measurer struct {
	u    Usage
	seen map[[2]uint64]bool
}

func (m *measurer) dir(fd int) error {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, n := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				continue // gone meanwhile
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				sub, err := linux.OpenBeneath(fd, n, unix.O_RDONLY|unix.O_DIRECTORY)
				if err == unix.EXDEV || err == unix.ENOENT {
					continue
				}
				if err != nil {
					return &os.PathError{Op: "open", Path: n, Err: err}
				}
				if err := m.dir(sub); err != nil {
					return err
				}
			}
			key := [2]uint64{st.Dev, st.Ino}
			if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
				if m.seen[key] {
					continue
				}
				m.seen[key] = true
			}
			m.u.Disk += st.Blocks * 512
			if st.Mode&unix.S_IFMT == unix.S_IFREG {
				m.u.Apparent += st.Size
			}
		}
		if len(names) == 0 || err != nil {
			return nil
		}
	}
}
