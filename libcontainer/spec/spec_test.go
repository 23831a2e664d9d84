package spec

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(resolved, "bundle")
	must(t, os.Mkdir(bundle, 0o755))
	_, err = Load(bundle)
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "config.json not found in the bundle "+bundle) {
		t.Errorf("without a config: %v", err)
	}
	raw, err := json.Marshal(Example(false))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bundle, ConfigName), raw, 0o644))
	must(t, os.Symlink("bundle", filepath.Join(resolved, "link")))
	t.Chdir(resolved)
	for _, name := range []string{bundle, "bundle", "./link/", filepath.Join(resolved, "link")} {
		b, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b.Dir != bundle || string(b.Raw) != string(raw) || b.RootPath() != filepath.Join(bundle, "rootfs") {
			t.Errorf("%s: dir %s, root %s, %d bytes", name, b.Dir, b.RootPath(), len(b.Raw))
		}
	}
	if _, err = Load("nowhere"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no bundle: %v", err)
	}
	if _, err = Load("bundle/config.json"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file for a bundle: %v", err)
	}
}

func TestLoadRefusesOddFiles(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"fifo", func(p string) error { return unix.Mkfifo(p, 0o600) }, "not a regular file"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file"},
		{"huge", func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(p, maxConfig+1)
		}, "are more than"},
		{"empty", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "line 1, column 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, tt.make(filepath.Join(dir, ConfigName)))
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
		})
	}
}

func TestCheckRoot(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "rootfs"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	for _, tt := range []struct{ path, want string }{
		{"rootfs", ""},
		{"./rootfs/../rootfs", ""},
		{filepath.Join(dir, "rootfs"), ""},
		{"file", "root.path: " + filepath.Join(dir, "file") + " is not a directory"},
		{"none", "root.path: stat " + filepath.Join(dir, "none") + ": no such file or directory"},
		{"", ""}, // Check's
	} {
		var d defect.List
		CheckRoot(&Bundle{Dir: dir, Spec: &specs.Spec{Root: &specs.Root{Path: tt.path}}}, &d)
		got := ""
		if len(d) > 0 {
			got = d[0].String()
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.path, got, tt.want)
		}
	}
}

// TestExampleIsRuncs compares with the runc that is installed, of whatever
// age, but for what has changed in runc since: the spec's version, ambient
// capabilities that could never be raised, the cgroup namespace; and the name.
func TestExampleIsRuncs(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("runc is not installed")
	}
	for _, rootless := range []bool{false, true} {
		dir := t.TempDir()
		args := []string{"spec", "--bundle", dir}
		if rootless {
			args = append(args, "--rootless")
		}
		if out, err := exec.Command(runc, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
		b, err := Load(dir)
		must(t, err)
		want, got := b.Spec, Example(rootless)
		want.Version, want.Hostname = got.Version, got.Hostname
		want.Process.Capabilities.Ambient = nil
		var others []specs.LinuxNamespace
		for _, spec := range []*specs.Spec{want, got} {
			others = nil
			for _, n := range spec.Linux.Namespaces {
				if n.Type != specs.CgroupNamespace {
					others = append(others, n)
				}
			}
			spec.Linux.Namespaces = others
		}
		if !reflect.DeepEqual(got, want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Errorf("rootless %v:\ngot  %s\nrunc %s", rootless, g, w)
		}
	}
}

func TestHello(t *testing.T) {
	s := Hello(false)
	if s.Process.Terminal || !reflect.DeepEqual(s.Process.Args, []string{"/gourd", "hello"}) {
		t.Errorf("process %+v", s.Process)
	}
	if len(s.Linux.Namespaces) != 7 {
		t.Errorf("namespaces %v", s.Linux.Namespaces)
	}
	if s := Hello(true); len(s.Linux.UIDMappings) != 1 || s.Process.Args[0] != "/gourd" || s.Process.Terminal {
		t.Errorf("rootless: maps %v, process %+v", s.Linux.UIDMappings, s.Process)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
