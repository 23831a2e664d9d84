// mountpoints.go: what a writable layer has only because something was mounted.

package layer

import (
	"archive/tar"
	"maps"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// IDs maps an owner and a group; nil: they are as they are.
type IDs func(uid, gid uint32) (uint32, uint32)

// MountPoints are how a writable layer is searched for what a runtime has made
// to mount on: an empty file or directory, the directories that lead there, and
// copies of directories in which that was made.
type MountPoints struct {
	// Upper is the writable layer, Parents are those below it, the topmost first.
	Upper   *os.File
	Parents []*os.File
	Overlay Namespace
	// At are the places, as the runtime is told them.
	At []string
	// UpperIDs and LowerIDs make owners of the two comparable: the container's.
	// Its root is 0.
	UpperIDs, LowerIDs IDs

	all, above map[string]bool
	found      map[string]bool
}

// Find returns the paths that are nothing but that, without a slash before them.
// What somebody has put content into, or given other attributes than the runtime
// does, is none, and neither are the directories that lead to it.
func (m *MountPoints) Find() (map[string]bool, error) {
	m.all, m.above, m.found = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, at := range m.At {
		name, err := resolve(append([]*os.File{m.Upper}, m.Parents...), m.Overlay, at)
		if err != nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		m.all[name] = true
		for d, _ := split(name); d != ""; d, _ = split(d) {
			m.above[d] = true
		}
	}
	for name := range maps.Keys(m.all) {
		top, _, _ := strings.Cut(name, "/")
		if _, err := m.entry(int(m.Upper.Fd()), top, top); err != nil {
			return nil, err
		}
	}
	return m.found, nil
}

// entry tells whether an entry of the writable layer is nothing but a place to
// mount on, or leads to such places alone.
func (m *MountPoints) entry(dir int, base, name string) (bool, error) {
	if m.found[name] {
		return true, nil
	}
	if !m.all[name] && !m.above[name] {
		return false, nil
	}
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	have := &lower{fd: fd}
	if err := unix.Fstat(fd, &have.st); err != nil {
		return false, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	low, err := lookup(m.Parents, m.Overlay, name)
	if err != nil {
		return false, err
	}
	if low != nil {
		defer unix.Close(low.fd)
	}
	is := false
	switch have.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		is = m.all[name] && low == nil && have.st.Size == 0 && have.st.Nlink == 1
	case unix.S_IFDIR:
		is, err = m.directory(have, low, name)
	}
	if err == nil && is {
		m.found[name] = true
	}
	return is, err
}

// directory is entry for a directory.
func (m *MountPoints) directory(have, low *lower, name string) (bool, error) {
	fd, err := linux.Reopen(have.fd, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	only := true // all of them are looked at: each is found or not by itself
	for _, n := range names {
		is, err := m.entry(fd, n, join(name, n))
		if err != nil {
			return false, err
		}
		only = only && is
	}
	if !only || len(names) == 0 && (low != nil || !m.all[name]) {
		return false, nil
	}
	h, err := have.header(name)
	if err != nil {
		return false, err
	}
	own(h, m.UpperIDs)
	if low == nil {
		return h.Mode == 0o755 && h.Uid == 0 && h.Gid == 0 && len(h.PAXRecords) == 0, nil
	}
	if opaque, err := isOpaque(fd, m.Overlay); err != nil || opaque {
		return false, err
	}
	l, err := low.header(name)
	if err != nil {
		return false, err
	}
	own(l, m.LowerIDs)
	// Ids in access control lists are those of the layer.
	same := func(a, b string) bool { return a == b || m.UpperIDs != nil }
	return l.Typeflag == h.Typeflag && l.Mode == h.Mode && l.Uid == h.Uid && l.Gid == h.Gid && maps.EqualFunc(l.PAXRecords, h.PAXRecords, same), nil
}

// own gives a header the owner that it has in the container, and takes the label
// that the kernel gives to whatever is made.
func own(h *tar.Header, ids IDs) {
	if ids != nil {
		uid, gid := ids(uint32(h.Uid), uint32(h.Gid))
		h.Uid, h.Gid = int(uid), int(gid)
	}
	delete(h.PAXRecords, paxXattr+selinux)
}

// maxLinks is how many symlinks a path may lead through, as the kernel has it.
const maxLinks = 40

// resolve finds where a path leads to in layers, the topmost first, whose root
// is "/". What is not there is where it would be.
func resolve(layers []*os.File, ns Namespace, at string) (string, error) {
	rest := strings.Split(path.Clean("/" + at)[1:], "/")
	name := ""
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			name, _ = split(name)
			continue
		}
		full := join(name, part)
		l, err := lookup(layers, ns, full)
		if err != nil {
			return "", err
		}
		if l == nil || l.st.Mode&unix.S_IFMT != unix.S_IFLNK {
			if l != nil {
				unix.Close(l.fd)
			}
			name = full
			continue
		}
		target, err := linux.Readlinkat(l.fd, "")
		unix.Close(l.fd)
		if err != nil {
			return "", &os.PathError{Op: "read link", Path: full, Err: err}
		}
		if links++; links > maxLinks {
			return "", &os.PathError{Op: "resolve", Path: at, Err: unix.ELOOP}
		}
		if strings.HasPrefix(target, "/") {
			name = ""
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return name, nil
}
