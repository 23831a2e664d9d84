package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// makeTar makes a tar; what is missing of a header is filled in.
func makeTar(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		content := ""
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			content = "content of " + h.Name
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		h.Uid, h.Gid = os.Geteuid(), os.Getegid()
		h.ModTime = time.Unix(1e9, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// namespace is the one that this process may write.
func namespace() Namespace {
	if os.Geteuid() == 0 {
		return Trusted
	}
	return User
}

// unpackInto unpacks below a fresh directory that has a neighbour.
func unpackInto(t testing.TB, data []byte, o Options) (root string, sum *Summary, err error) {
	t.Helper()
	base := "" // in memory, if that is there: a fuzz test makes many
	if _, err := os.Stat("/dev/shm"); err == nil {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "gourd-layer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(dir+"/outside", []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	root = dir + "/root"
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o.Overlay = namespace()
	sum, err = Unpack(t.Context(), bytes.NewReader(data), f, o)
	entries, rerr := os.ReadDir(dir)
	if rerr != nil || len(entries) != 2 {
		t.Errorf("beside the layer there are %v, %v", entries, rerr)
	}
	if b, rerr := os.ReadFile(dir + "/outside"); rerr != nil || string(b) != "outside" {
		t.Errorf("the file outside is %q, %v", b, rerr)
	}
	return root, sum, err
}

func TestNothingLeavesTheLayer(t *testing.T) {
	dir := func(n string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeDir} }
	sym := func(n, to string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeSymlink, Linkname: to} }
	hard := func(n, to string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeLink, Linkname: to} }
	file := func(n string) tar.Header { return tar.Header{Name: n} }
	for _, tt := range []struct {
		name string
		hs   []tar.Header
		err  string // "": it is unpacked, and inside has it
		in   string
	}{
		{"climbing", []tar.Header{file("../outside")}, "leads out", ""},
		{"climbing later", []tar.Header{dir("a"), file("a/../../outside")}, "leads out", ""},
		{"climbing back", []tar.Header{file("a/../b")}, "", "b"},
		{"absolute", []tar.Header{file("/a/b")}, "", "a/b"},
		{"absolute and climbing", []tar.Header{file("/../outside")}, "leads out", ""},
		{"through an absolute symlink", []tar.Header{dir("gourd-test"), sym("link", "/gourd-test"), file("link/file")}, "", "gourd-test/file"},
		{"through a climbing symlink", []tar.Header{sym("link", "../.."), file("link/outside")}, "", "outside"},
		{"through a chain of symlinks", []tar.Header{sym("a", ".."), sym("b", "a/.."), dir("c"), file("b/c/outside")}, "", "c/outside"},
		{"over a symlink", []tar.Header{sym("x", "../outside"), file("x")}, "", "x"},
		{"a directory over a symlink", []tar.Header{sym("x", ".."), dir("x"), file("x/outside")}, "", "x/outside"},
		{"hard link out", []tar.Header{hard("x", "../outside")}, "leads out", ""},
		{"hard link through a symlink", []tar.Header{sym("l", ".."), hard("x", "l/outside")}, "no such file", ""},
		{"hard link to a symlink out", []tar.Header{sym("l", "../outside"), hard("x", "l"), file("x")}, "", "x"},
		{"hard link to what is absent", []tar.Header{hard("x", "nothing")}, "not there", ""},
		{"hard link to itself", []tar.Header{file("x"), hard("x", "x")}, "itself", ""},
		{"whiteout of ..", []tar.Header{file(".wh...")}, "no name", ""},
		{"whiteout of nothing", []tar.Header{file(".wh.")}, "no name", ""},
		{"whiteout through a symlink", []tar.Header{sym("l", ".."), file("l/.wh.outside")}, "", "outside"},
		{"root that is no directory", []tar.Header{sym("./", "..")}, "not a directory", ""},
		{"the root removed", []tar.Header{file(".wh..")}, "no name", ""},
		{"below a file", []tar.Header{file("f"), file("f/g")}, "not a directory", ""},
		{"hard link to what the layer deletes", []tar.Header{file(".wh.a"), hard("x", "a")}, "deletes it", ""},
		{"a loop", []tar.Header{sym("a", "b"), sym("b", "a"), file("a/x")}, "symbolic links", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, _, err := unpackInto(t, makeTar(t, tt.hs...), Options{Base: true})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("the error is %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				if os.Geteuid() != 0 && strings.Contains(err.Error(), "whiteout") {
					t.Skip("whiteouts need root")
				}
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(root, tt.in)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeviceThatIsAWhiteout(t *testing.T) {
	_, _, err := unpackInto(t, makeTar(t, tar.Header{Name: "x", Typeflag: tar.TypeChar}), Options{Base: true})
	if err == nil || !strings.Contains(err.Error(), "whiteout") {
		t.Errorf("a device 0:0 gives %v", err)
	}
}

func TestOverlayAttributesAreNotTaken(t *testing.T) {
	h := tar.Header{Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{
		"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y",
	}}
	root, sum, err := unpackInto(t, makeTar(t, h), Options{Base: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Dropped) != 2 {
		t.Errorf("dropped: %v", sum.Dropped)
	}
	f, err := os.Open(root + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if attrs, err := Xattrs(int(f.Fd())); err != nil || len(attrs) != 0 {
		t.Errorf("attributes %v, %v", attrs, err)
	}
}

// An SELinux label is not an image's: neither is one taken, nor is the host's put
// into a layer.
func TestLabelsAreNotTaken(t *testing.T) {
	h := tar.Header{Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{
		"SCHILY.xattr.security.selinux": "system_u:object_r:etc_t:s0", "SCHILY.xattr.user.a": "b",
	}}
	root, sum, err := unpackInto(t, makeTar(t, h), Options{Base: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Dropped) != 1 || sum.Dropped["extended attribute security.selinux, which is the host's to give"] != 1 {
		t.Errorf("dropped: %v", sum.Dropped)
	}
	if _, err := unix.Lgetxattr(root+"/x", selinuxLabel, nil); err == nil && !selinuxEnabled() {
		t.Error("the image's label was taken")
	}
	indexed, err := Index(bytes.NewReader(makeTar(t, h)), io.Discard, io.Discard, Options{Base: true, Overlay: namespace()})
	if err != nil || len(indexed.Dropped) != 1 {
		t.Errorf("as an index: dropped %v, %v", indexed.Dropped, err)
	}
	if os.Geteuid() != 0 {
		return
	}
	err = unix.Setxattr(root+"/x", selinuxLabel, []byte("system_u:object_r:unlabeled_t:s0"), 0)
	if err == unix.EOPNOTSUPP || selinuxEnabled() && err != nil {
		t.Skip("the filesystem takes no label")
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(root + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if attrs, err := Xattrs(int(f.Fd())); err != nil || len(attrs) != 1 || attrs["user.a"] != "b" {
		t.Errorf("attributes %v, %v", attrs, err)
	}
}

// selinuxEnabled is whether the kernel gives every file a label.
func selinuxEnabled() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

func TestLayersThatNeedOthers(t *testing.T) {
	for name, hs := range map[string][]tar.Header{
		"an undescribed directory":        {{Name: "a/b"}},
		"a hard link to a lower layer":    {{Name: "x", Typeflag: tar.TypeLink, Linkname: "lower"}},
		"a whiteout in an undescribed":    {{Name: "a/.wh.b"}},
		"an opaque undescribed directory": {{Name: "a/.wh..wh..opq"}},
	} {
		if os.Geteuid() != 0 && strings.Contains(name, "whiteout") {
			continue
		}
		if _, _, err := unpackInto(t, makeTar(t, hs...), Options{}); !errors.Is(err, ErrNeedsParents) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Index(bytes.NewReader(makeTar(t, hs...)), io.Discard, io.Discard, Options{Overlay: namespace()}); !errors.Is(err, ErrNeedsParents) {
			t.Errorf("%s, as an index: %v", name, err)
		}
	}
}

// TestNumbers: what the kernel would cut to another number is refused, by both
// forms.
func TestNumbers(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"user 2^32":      {Typeflag: tar.TypeReg, Uid: 1 << 32},
		"group 2^32":     {Typeflag: tar.TypeReg, Gid: 1 << 32},
		"no user":        {Typeflag: tar.TypeReg, Uid: 1<<32 - 1},
		"device 4096:0":  {Typeflag: tar.TypeChar, Devmajor: 4096},
		"device 0:2^20":  {Typeflag: tar.TypeChar, Devminor: 1 << 20},
		"block 2^32:0":   {Typeflag: tar.TypeBlock, Devmajor: 1 << 32},
		"root of nobody": {Name: "./", Typeflag: tar.TypeDir, Uid: 1<<32 - 1},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h.Format, h.Mode = tar.FormatGNU, 0o755
		if h.Name == "" {
			h.Name = "f"
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, _, err := unpackInto(t, b.Bytes(), Options{Base: true}); err == nil || !strings.Contains(err.Error(), "can have") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Index(bytes.NewReader(b.Bytes()), io.Discard, io.Discard, Options{Base: true}); err == nil || !strings.Contains(err.Error(), "can have") {
			t.Errorf("%s, as an index: %v", name, err)
		}
	}
}

func TestCapabilityThatIsNone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("file capabilities need root")
	}
	data := makeTar(t, tar.Header{Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "none"}})
	if _, _, err := unpackInto(t, data, Options{Base: true}); err == nil {
		t.Error("it was unpacked")
	}
	if _, err := Index(bytes.NewReader(data), io.Discard, io.Discard, Options{Base: true}); err == nil {
		t.Error("it was indexed")
	}
}

// sparseTar is a tar of sparse files (GNU's form 1.0 in PAX) that end in one
// byte of data.
func sparseTar(t *testing.T, sizes ...int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, size := range sizes {
		// The standard library writes no sparse files: it is told the name that
		// GNU gives them, and its records are renamed.
		content := make([]byte, 513)
		copy(content, fmt.Sprintf("1\n%d\n1\n", size-1))
		h := tar.Header{Name: fmt.Sprint("f", i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), Uid: os.Geteuid(), Gid: os.Getegid(),
			PAXRecords: map[string]string{"XXX.sparse.major": "1", "XXX.sparse.minor": "0", "XXX.sparse.name": fmt.Sprint("f", i), "XXX.sparse.realsize": fmt.Sprint(size)}}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	w.Close()
	return bytes.ReplaceAll(b.Bytes(), []byte("XXX.sparse."), []byte("GNU.sparse."))
}

func TestSparse(t *testing.T) {
	root, _, err := unpackInto(t, sparseTar(t, 1<<20), Options{Base: true})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(root + "/f0"); err != nil || st.Size() != 1<<20 {
		t.Errorf("the sparse file is %v, %v", st, err)
	}
	for _, sizes := range [][]int64{{1 << 40}, {1<<63 - 1}, {1 << 20, maxSparse - 1}} {
		if _, _, err := unpackInto(t, sparseTar(t, sizes...), Options{Base: true}); err == nil || !strings.Contains(err.Error(), "more than 64 GiB") {
			t.Errorf("%d bytes: %v", sizes, err)
		}
	}
	// A hole is no reason to wait.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := Unpack(ctx, bytes.NewReader(sparseTar(t, 60<<30)), dir, Options{Base: true, Overlay: namespace()}); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop in a hole: %v", err)
	}
}

func TestHoles(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	content := make([]byte, 1<<20)
	copy(content[300<<10:], "data")
	if err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), Uid: os.Geteuid(), Gid: os.Getegid()}); err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	w.Close()
	root, _, err := unpackInto(t, b.Bytes(), Options{Base: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(root + "/f")
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the content is another, %v", err)
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if u, err := Measure(f); err != nil || u.Apparent != 1<<20 || u.Disk > 64<<10 {
		t.Errorf("it takes %+v, %v", u, err)
	}
}

func TestStreamDigests(t *testing.T) {
	plain := makeTar(t, tar.Header{Name: "f"})
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(plain)
	g.Close()
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(plain)
	z.Close()
	for name, blob := range map[string][]byte{"plain": plain, "gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		read := func(blob []byte, e Expect) error {
			s, err := NewStream(bytes.NewReader(blob), e, nil)
			if err != nil {
				return err
			}
			defer s.Close()
			if _, err := tar.NewReader(s).Next(); err != nil {
				return err
			}
			return s.Verify()
		}
		good := Expect{Digest: digest.FromBytes(blob), Size: int64(len(blob)), DiffID: digest.FromBytes(plain)}
		if err := read(blob, good); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		other := good
		other.DiffID = digest.FromString("other")
		var de *DigestError
		if err := read(blob, other); !errors.As(err, &de) || de.What != "diff id" {
			t.Errorf("%s, another diff id: %v", name, err)
		}
		other = good
		other.Digest = digest.FromString("other")
		if err := read(blob, other); !errors.As(err, &de) || de.What != "blob" {
			t.Errorf("%s, another digest: %v", name, err)
		}
		if err := read(blob[:len(blob)-1], good); err == nil {
			t.Errorf("%s, cut short: no error", name)
		}
		if err := read(append(append([]byte{}, blob...), 0), good); err == nil {
			t.Errorf("%s, with more behind it: no error", name)
		}
	}
	for name, magic := range map[string]string{"xz": "\xfd7zXZ\x00", "bzip2": "BZh91AY"} {
		if _, err := NewStream(strings.NewReader(magic), Expect{Size: -1}, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhiteouts: the image-spec's marks become overlayfs's, in whatever order
// the tar has them, and a commit turns them back.
func TestWhiteouts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("whiteouts need root")
	}
	dir := func(n string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeDir} }
	root, sum, err := unpackInto(t, makeTar(t,
		dir("./"), dir("opaque"), tar.Header{Name: "opaque/new"}, tar.Header{Name: "opaque/.wh..wh..opq"},
		tar.Header{Name: ".wh.gone"},
		tar.Header{Name: ".wh.again"}, dir("again"), tar.Header{Name: "again/x"},
		dir("before"), tar.Header{Name: ".wh.before"},
		dir("plain"),
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Whiteouts != 4 {
		t.Errorf("%d marks", sum.Whiteouts)
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]bool{"opaque": true, "again": true, "before": true, "plain": false} {
		l, _, err := lookupOne(int(f.Fd()), Trusted, name)
		if err != nil || l == nil {
			t.Fatalf("%s: %v, %v", name, l, err)
		}
		if got, err := isOpaque(l.fd, Trusted); got != want || err != nil {
			t.Errorf("%s is opaque: %v, %v", name, got, err)
		}
	}
	if l, end, err := lookupOne(int(f.Fd()), Trusted, "gone"); l != nil || !end || err != nil {
		t.Errorf("what is deleted is %v, %v, %v", l, end, err)
	}
	var b bytes.Buffer
	if _, err := Pack(t.Context(), &b, f, PackOptions{Overlay: Trusted, Root: true}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	got := strings.Join(names, " ")
	if want := "./ again/ again/.wh..wh..opq again/x before/ before/.wh..wh..opq .wh.gone opaque/ opaque/.wh..wh..opq opaque/new plain/"; got != want {
		t.Errorf("packed again it is %q, want %q", got, want)
	}
}
