package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestManifest: whatever is changed in a layer's directory is found and named.
func TestManifest(t *testing.T) {
	dir := func(n string) tar.Header { return tar.Header{Name: n, Typeflag: tar.TypeDir} }
	data := makeTar(t, dir("./"), dir("a"), tar.Header{Name: "a/file"}, tar.Header{Name: "a/same", Typeflag: tar.TypeLink, Linkname: "a/file"},
		tar.Header{Name: "a-b"}, tar.Header{Name: "replaced"}, tar.Header{Name: "replaced", Typeflag: tar.TypeSymlink, Linkname: "a file"},
		tar.Header{Name: "empty", Typeflag: tar.TypeFifo}, tar.Header{Name: "caf\xe9 \n"}, dir("z"))
	for name, change := range map[string]struct {
		change func(root string) error
		want   string // "": nothing is found
	}{
		"nothing":         {func(string) error { return nil }, ""},
		"read":            {func(r string) error { _, err := os.ReadFile(r + "/a/file"); return err }, ""},
		"a byte":          {func(r string) error { return keepTime(r+"/a/file", func(n string) error { return flip(n) }) }, "/a/file: not as it was made: content"},
		"longer":          {func(r string) error { return keepTime(r+"/a-b", func(n string) error { return os.Truncate(n, 100) }) }, "/a-b: not as it was made: content"},
		"mode":            {func(r string) error { return os.Chmod(r+"/a-b", 0o777) }, "/a-b: not as it was made: type or mode"},
		"time":            {func(r string) error { return os.Chtimes(r+"/a-b", time.Time{}, time.Unix(1, 0)) }, "/a-b: not as it was made: time"},
		"mode of root":    {func(r string) error { return os.Chmod(r, 0o700) }, "/: not as it was made: type or mode"},
		"missing":         {func(r string) error { return keepTime(r, func(r string) error { return os.Remove(r + "/a-b") }) }, "/a-b: it is missing"},
		"missing at last": {func(r string) error { return keepTime(r, func(r string) error { return os.Remove(r + "/z") }) }, "/z: it is missing"},
		"one more":        {func(r string) error { return keepTime(r, func(r string) error { return os.Mkdir(r+"/b", 0o755) }) }, "/b: it is not of the layer"},
		"one more after":  {func(r string) error { return keepTime(r, func(r string) error { return os.Mkdir(r+"/zz", 0o755) }) }, "/zz: it is not of the layer"},
		"no link": {func(r string) error {
			return keepTime(r+"/a", func(a string) error {
				content, err := os.ReadFile(a + "/same")
				return errors.Join(err, os.Remove(a+"/same"), os.WriteFile(a+"/same", content, 0o755), os.Chtimes(a+"/same", time.Unix(1e9, 0), time.Unix(1e9, 0)))
			})
		}, "/a/same: not as it was made: content"},
		"attribute": {func(r string) error { return unix.Setxattr(r+"/a", "user.x", []byte("y"), 0) }, "/a: not as it was made: extended attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			root, sum, err := unpackInto(t, data, Options{Base: true, Contents: true})
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(root)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var manifest bytes.Buffer
			want, err := WriteManifest(&manifest, f, sum.Contents)
			if err != nil {
				t.Fatal(err)
			}
			if err := change.change(root); err != nil {
				if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			err = Verify(t.Context(), bytes.NewReader(manifest.Bytes()), want, f)
			if change.want == "" && err != nil || change.want != "" && (err == nil || err.Error() != change.want) {
				t.Errorf("it says %v, want %q", err, change.want)
			}
			// A manifest that was changed says nothing of the layer.
			other := bytes.Replace(manifest.Bytes(), []byte("100755"), []byte("100644"), 1)
			var de *DigestError
			if err := Verify(t.Context(), bytes.NewReader(other), want, f); !errors.As(err, &de) {
				t.Errorf("with another manifest: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := Verify(ctx, strings.NewReader(manifest.String()), want, f); change.want == "" && !errors.Is(err, context.Canceled) {
				t.Errorf("told to stop: %v", err)
			}
		})
	}
}

// keepTime changes something and sets its time back: a disk's mistake changes none.
func keepTime(name string, change func(name string) error) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	return errors.Join(change(name), os.Chtimes(name, st.ModTime(), st.ModTime()))
}

func flip(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 3); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b[:], 3)
	return err
}
