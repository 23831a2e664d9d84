package nsenter

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sameContent checks that f, which cannot be read through f itself where it is
// an O_PATH file, is this test binary.
func sameContent(t *testing.T, f *os.File) {
	t.Helper()
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read("/proc/self/fd/"+itoa(int(f.Fd()))), read("/proc/self/exe")) {
		t.Error("the file is not the binary of this process")
	}
}

// unwritable checks that root cannot write to f in any way.
func unwritable(t *testing.T, f *os.File, want ...error) {
	t.Helper()
	is := func(err error) bool {
		for _, w := range want {
			if errors.Is(err, w) {
				return true
			}
		}
		return false
	}
	path := "/proc/self/fd/" + itoa(int(f.Fd()))
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = w.Write([]byte("x"))
		w.Close()
	}
	if !is(err) {
		t.Errorf("write: %v", err)
	}
	if err := os.Truncate(path, 0); !is(err) {
		t.Errorf("truncate: %v", err)
	}
}

func TestSelfSealed(t *testing.T) {
	f, err := Self(true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Mode() != 0o111 {
		t.Errorf("mode %v (%v)", st.Mode(), err)
	}
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE; err != nil || seals&want != want {
		t.Errorf("seals %#x (%v)", seals, err)
	}
	if os.Geteuid() == 0 {
		sameContent(t, f)
		unwritable(t, f, unix.EPERM)
	}
	r := request(t, "look")
	r.Exe = f
	if s := run(t, r); os.Geteuid() == 0 && !strings.HasPrefix(s.Exe, "/memfd:gourd") {
		t.Errorf("the program is %q", s.Exe)
	}
}

func TestSelfOverlay(t *testing.T) {
	needRoot(t)
	f, err := overlaySelf()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sameContent(t, f)
	unwritable(t, f, unix.EROFS, unix.ETXTBSY)
	var own, st unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/self/exe", &own), unix.Fstat(int(f.Fd()), &st)); err != nil || own.Dev == st.Dev {
		t.Errorf("the file is on the device %d, the binary on %d (%v)", st.Dev, own.Dev, err)
	}
	r := request(t, "look")
	r.Exe = f
	r.New, r.UIDMaps, r.GIDMaps = allNamespaces, rootMaps, rootMaps
	checkNew(t, run(t, r), allNamespaces)

	g, err := Self(false)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var gst unix.Stat_t
	if err := unix.Fstat(int(g.Fd()), &gst); err != nil || gst.Ino != own.Ino {
		t.Errorf("Self(false) is not the overlay: %v", err)
	}
}

// TestSelfReplaced runs a copy of this binary, which replaces itself.
func TestSelfReplaced(t *testing.T) {
	needRoot(t)
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/gourd"
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "replaced")
	cmd.Args[0] = helperName
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestImmutableTmpfs(t *testing.T) {
	needRoot(t)
	f, err := immutableTmpfs("gourd", func(fd int) error {
		exe := self(t)
		return copyFile(fd, int(exe.Fd()))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sameContent(t, f)
	unwritable(t, f, unix.EROFS)
	if err := os.Chmod("/proc/self/fd/"+itoa(int(f.Fd())), 0o777); !errors.Is(err, unix.EROFS) {
		t.Errorf("chmod: %v", err)
	}
	r := request(t, "look")
	r.Exe = f
	run(t, r)
}

func TestImmutableFails(t *testing.T) {
	fail := func(int) error { return io.ErrNoProgress }
	if _, err := immutable("x", fail); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		if _, err := immutableTmpfs("x", fail); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		p, dir string
		want   bool
	}{
		{"/usr/bin", "/usr", true}, {"/usr", "/usr", true}, {"/usr2", "/usr", false}, {"/usr", "/", true}, {"/", "/usr", false},
	} {
		if got := within(tt.p, tt.dir); got != tt.want {
			t.Errorf("within(%q, %q) is %v", tt.p, tt.dir, got)
		}
	}
	if got, want := escapeLower(`/a:b\c`), `/a\:b\\c`; got != want {
		t.Errorf("escaped %s, want %s", got, want)
	}
}
