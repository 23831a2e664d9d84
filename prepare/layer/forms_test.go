package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/erofs"
)

// sameForms checks that the two forms of a layer are the same: that both refuse a
// tar, or that the tree of the index is the directory, and returns their errors.
func sameForms(t testing.TB, data []byte, o Options) (unpacked, indexed error) {
	t.Helper()
	root, _, uerr := unpackInto(t, data, o)
	o.Overlay = namespace()
	var content, meta bytes.Buffer
	x, ierr := readTree(bytes.NewReader(data), &content, o)
	if ierr == nil {
		ierr = erofs.Write(&meta, x.root, x.at.n)
	}
	if errors.Is(ierr, ErrUnsuitable) || uerr != nil && ofFileSystem(uerr) {
		return uerr, ierr
	}
	if (uerr == nil) != (ierr == nil) {
		t.Errorf("as a directory: %v; as an index: %v", uerr, ierr)
	}
	if uerr != nil || ierr != nil {
		return uerr, ierr
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir, index := map[string]string{}, map[string]string{}
	links := map[uint64][]string{}
	describeDirectory(t, int(f.Fd()), ".", "", dir, links)
	describeIndex(x.root, "", content.Bytes(), index)
	for _, names := range links {
		slices.Sort(names)
		for _, n := range names {
			dir[n] += fmt.Sprint(" ", names)
		}
	}
	if !maps.Equal(dir, index) {
		for _, n := range slices.Sorted(maps.Keys(dir)) {
			if dir[n] != index[n] {
				t.Errorf("%q is %q in the directory, %q in the index", n, dir[n], index[n])
			}
		}
		for n := range index {
			if _, ok := dir[n]; !ok {
				t.Errorf("%q is in the index alone", n)
			}
		}
	}
	return nil, nil
}

// ofFileSystem tells errors that say what this file system or user may not.
func ofFileSystem(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EPERM, unix.EFBIG, unix.EOVERFLOW} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func describeDirectory(t testing.TB, dir int, base, name string, out map[string]string, links map[uint64][]string) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
	what := ""
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(procPath(dir, base))
		if err != nil {
			what = err.Error()
		}
		what += fmt.Sprintf("%d %.100q", st.Size, data)
	case unix.S_IFLNK:
		what, _ = linux.Readlinkat(dir, base)
	case unix.S_IFCHR, unix.S_IFBLK:
		what = fmt.Sprint(unix.Major(st.Rdev), ":", unix.Minor(st.Rdev))
	}
	attrs, err := xattrsAt(procPath(dir, base))
	if err != nil {
		t.Fatal(err)
	}
	delete(attrs, selinux)
	out[name] = fmt.Sprintf("%o %d:%d %s %q", st.Mode, st.Uid, st.Gid, what, attrs)
	whiteout := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 // whose time nobody sees
	if t0 := st.Mtim.Sec; !whiteout && t0 >= 0 && t0 < 1<<31 {      // which every file system has
		out[name] += fmt.Sprint(" ", t0)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if st.Nlink > 1 {
			links[st.Ino] = append(links[st.Ino], name)
		}
		return
	}
	fd, err := linux.OpenBeneath(dir, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		describeDirectory(t, fd, n, join(name, n), out, links)
	}
}

func describeIndex(i *erofs.Inode, name string, content []byte, out map[string]string) {
	index := map[*erofs.Inode][]string{}
	var walk func(i *erofs.Inode, name string)
	walk = func(i *erofs.Inode, name string) {
		what := ""
		switch i.Type() {
		case unix.S_IFREG:
			what = fmt.Sprintf("%d %.100q", i.Size, content[i.Offset:i.Offset+i.Size])
			if i.Size == 0 {
				what = `0 ""`
			}
		case unix.S_IFLNK:
			what = i.Target
		case unix.S_IFCHR, unix.S_IFBLK:
			what = fmt.Sprint(unix.Major(i.Rdev), ":", unix.Minor(i.Rdev))
		}
		out[name] = fmt.Sprintf("%o %d:%d %s %q", i.Mode, i.UID, i.GID, what, i.Xattrs)
		if !isWhiteout(i) && i.Sec >= 0 && i.Sec < 1<<31 {
			out[name] += fmt.Sprint(" ", i.Sec)
		}
		if i.Type() != unix.S_IFDIR {
			index[i] = append(index[i], name)
			return
		}
		for n, c := range i.Children {
			walk(c, join(name, n))
		}
	}
	walk(i, name)
	for _, names := range index {
		if len(names) == 1 {
			continue
		}
		slices.Sort(names)
		for _, n := range names {
			out[n] += fmt.Sprint(" ", names)
		}
	}
}

// acl makes an access control list of entries of a tag, permissions and an id.
func acl(entries ...[3]byte) string {
	out := "\x02\x00\x00\x00"
	for _, e := range entries {
		id := string([]byte{e[2], 0, 0, 0})
		if e[2] == 255 { // nobody's
			id = "\xff\xff\xff\xff"
		}
		out += string([]byte{e[0], 0, e[1], 0}) + id
	}
	return out
}

// TestFormsAgree: a layer is the same in either form, and is refused in both.
func TestFormsAgree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an index is for root")
	}
	dir := func(n string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeDir} }
	hard := func(n, to string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeLink, Linkname: to} }
	sym := func(n, to string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeSymlink, Linkname: to} }
	attr := func(h tar.Header, key, value string) tar.Header {
		h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{paxXattr + key: value}
		return h
	}
	file := tar.Header{Name: "f"}
	good := acl([3]byte{1, 7, 255}, [3]byte{2, 4, 5}, [3]byte{4, 5, 255}, [3]byte{0x10, 5, 255}, [3]byte{0x20, 5, 255})
	long := strings.Repeat("n", 255)
	for name, tt := range map[string]struct {
		hs  []tar.Header
		bad bool
	}{
		"plain":                            {[]tar.Header{dir("./"), dir("d"), {Name: "d/f"}, hard("d/g", "d/f"), sym("s", "d"), {Name: "p", Typeflag: tar.TypeFifo}, {Name: "c", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, false},
		"a hard link to itself":            {[]tar.Header{file, hard("f", "f")}, true},
		"a hard link over its own place":   {[]tar.Header{dir("d"), {Name: "d/f"}, hard("d", "d/f")}, true},
		"a hard link to what is deleted":   {[]tar.Header{{Name: ".wh.f"}, hard("g", "f")}, true},
		"a hard link to a symlink":         {[]tar.Header{sym("s", "nowhere"), hard("t", "s")}, false},
		"a hard link to a directory":       {[]tar.Header{dir("d"), hard("e", "d")}, true},
		"a hard link over a directory":     {[]tar.Header{file, dir("d"), {Name: "d/g"}, hard("d", "f")}, false},
		"a hard link below a file":         {[]tar.Header{file, hard("g", "f/x")}, true},
		"twice":                            {[]tar.Header{file, {Name: "f", Mode: 0o600}}, false},
		"a directory over a file":          {[]tar.Header{file, dir("f"), {Name: "f/g"}}, false},
		"a file over a directory":          {[]tar.Header{dir("f"), {Name: "f/g"}, file}, false},
		"a directory twice":                {[]tar.Header{attr(dir("d"), "user.a", "1"), {Name: "d/f"}, attr(dir("d"), "user.b", "2")}, false},
		"undescribed directories":          {[]tar.Header{{Name: "a/b/c"}}, false},
		"a whiteout":                       {[]tar.Header{dir("d"), {Name: "d/.wh.x"}, {Name: "d/.wh..wh..opq"}}, false},
		"a whiteout and then a directory":  {[]tar.Header{{Name: ".wh.d"}, dir("d")}, false},
		"a whiteout and then below it":     {[]tar.Header{{Name: ".wh.d"}, {Name: "d/f"}}, false},
		"a directory and then a whiteout":  {[]tar.Header{dir("d"), {Name: ".wh.d"}}, false},
		"a file and then a whiteout":       {[]tar.Header{file, {Name: ".wh.f"}}, false},
		"a long name":                      {[]tar.Header{{Name: long}}, false},
		"a name that is too long":          {[]tar.Header{{Name: long + "n"}}, true},
		"a path that is too long":          {[]tar.Header{{Name: strings.Repeat(long[:200]+"/", 21) + "f"}}, true},
		"a symlink to nothing":             {[]tar.Header{sym("s", "")}, true},
		"a symlink that is too long":       {[]tar.Header{sym("s", strings.Repeat("n", 4096))}, true},
		"attributes":                       {[]tar.Header{attr(file, "user.a", "b"), attr(dir("d"), "trusted.x", ""), attr(dir("e"), "security.y", "z")}, false},
		"a user's of a symlink":            {[]tar.Header{attr(sym("s", "x"), "user.a", "b")}, false},
		"a user's of a FIFO":               {[]tar.Header{attr(tar.Header{Name: "p", Typeflag: tar.TypeFifo}, "user.a", "b")}, false},
		"one that Linux does not know":     {[]tar.Header{attr(file, "other.a", "b"), attr(dir("d"), "system.x", "b"), attr(dir("e"), "noname", "b")}, false},
		"one without a name":               {[]tar.Header{attr(file, "user.", "b")}, true},
		"one whose name is too long":       {[]tar.Header{attr(file, "user."+long, "b")}, true},
		"a capability":                     {[]tar.Header{attr(file, capability, "\x01\x00\x00\x02"+strings.Repeat("\x00", 16))}, false},
		"a capability of another revision": {[]tar.Header{attr(file, capability, "\x01\x01\x00\x02"+strings.Repeat("\x00", 16))}, true},
		"a capability that is too short":   {[]tar.Header{attr(file, capability, "\x01\x00\x00\x02")}, true},
		"an access control list":           {[]tar.Header{attr(tar.Header{Name: "f", Mode: 0o755}, aclAccess, good), attr(dir("d"), aclDefault, good)}, false},
		"a list that is too short":         {[]tar.Header{attr(file, aclAccess, "\x02")}, true},
		"a list of another version":        {[]tar.Header{attr(file, aclAccess, "\x03\x00\x00\x00")}, true},
		"a list that lacks entries":        {[]tar.Header{attr(file, aclAccess, acl([3]byte{1, 7, 255}))}, true},
		"a list without a mask":            {[]tar.Header{attr(file, aclAccess, acl([3]byte{1, 7, 255}, [3]byte{2, 4, 5}, [3]byte{4, 5, 255}, [3]byte{0x20, 5, 255}))}, true},
		"a list that is not in order":      {[]tar.Header{attr(file, aclAccess, acl([3]byte{4, 7, 255}, [3]byte{1, 4, 255}, [3]byte{0x20, 5, 255}))}, true},
		"a list with unknown permissions":  {[]tar.Header{attr(file, aclAccess, acl([3]byte{1, 8, 255}, [3]byte{4, 4, 255}, [3]byte{0x20, 5, 255}))}, true},
		"a default list of a file":         {[]tar.Header{attr(file, aclDefault, good)}, true},
		"a list of a symlink":              {[]tar.Header{attr(sym("s", "x"), aclAccess, good)}, false},
		"overlay's own":                    {[]tar.Header{attr(dir("d"), "trusted.overlay.opaque", "y")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			uerr, ierr := sameForms(t, makeTar(t, tt.hs...), Options{Base: true})
			if (uerr != nil) != tt.bad {
				t.Errorf("as a directory: %v; as an index: %v", uerr, ierr)
			}
		})
	}
}

// FuzzUnpack unpacks whatever comes: it must not panic, nothing may appear beside
// the layer, and both forms must be the same, or refuse it.
func FuzzUnpack(f *testing.F) {
	f.Add(makeTar(f, tar.Header{Name: "a", Typeflag: tar.TypeDir}, tar.Header{Name: "a/b"}, tar.Header{Name: "a/.wh.c"}))
	f.Add(makeTar(f, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "l/outside"}, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "l"}))
	f.Add(makeTar(f, tar.Header{Name: ".wh..wh..opq"}, tar.Header{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		sameForms(t, data, Options{Base: true})
	})
}
