package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func readSpec(t *testing.T, bundle string) *specs.Spec {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestSpec(t *testing.T) {
	plainEnv(t)
	for _, rootless := range []bool{false, true} {
		dir := t.TempDir()
		args := []string{"spec", "--bundle", dir}
		if rootless {
			args = append(args, "--rootless")
		}
		if r := try(nil, args...); r.code != 0 || r.stdout+r.stderr != "" {
			t.Fatalf("%q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
		s := readSpec(t, dir)
		if s.Version != specs.Version || s.Process == nil || len(s.Process.Args) != 1 || s.Process.Args[0] != "sh" {
			t.Errorf("%q: got version %q, process %+v", args, s.Version, s.Process)
		}
		user := false
		for _, ns := range s.Linux.Namespaces {
			user = user || ns.Type == specs.UserNamespace
		}
		if user != rootless {
			t.Errorf("%q: a user namespace: %v", args, user)
		}
	}
}

func TestSpecInCurrentDirectory(t *testing.T) {
	plainEnv(t)
	t.Chdir(t.TempDir())
	if r := try(nil, "spec"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	readSpec(t, ".")
}

func TestSpecDoesNotOverwrite(t *testing.T) {
	plainEnv(t)
	for _, extra := range []string{"--rootless", "--hello"} {
		dir := t.TempDir()
		name := filepath.Join(dir, "config.json")
		if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := try(nil, "spec", "-b", dir, extra)
		if r.code != 1 || !strings.HasPrefix(r.stderr, "gourd: "+name+" exists already; remove it first") {
			t.Errorf("%s: exit code %d, stderr %q", extra, r.code, r.stderr)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != "mine" {
			t.Errorf("%s: config.json is %q, %v", extra, b, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "rootfs")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: rootfs was made: %v", extra, err)
		}
	}
}

// TestSpecDanglingSymlink: a config.json that is a symlink to nowhere is there
// too, and must not make gourd write elsewhere.
func TestSpecDanglingSymlink(t *testing.T) {
	plainEnv(t)
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(target, filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	if r := try(nil, "spec", "-b", dir); r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Error("wrote through the symlink")
	}
}

func TestSpecHello(t *testing.T) {
	plainEnv(t)
	dir := filepath.Join(t.TempDir(), "new", "bundle")
	if r := try(nil, "spec", "--hello", "--bundle", dir); r.code != 0 || r.stdout+r.stderr != "" {
		t.Fatalf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
	s := readSpec(t, dir)
	if len(s.Process.Args) < 2 || s.Process.Args[0] != "/gourd" || s.Process.Args[1] != "hello" {
		t.Errorf("the process is %q", s.Process.Args)
	}
	rootfs := filepath.Join(dir, s.Root.Path)
	entries, err := os.ReadDir(rootfs)
	if err != nil || len(entries) != 1 || entries[0].Name() != "gourd" {
		t.Fatalf("the root filesystem holds %v, %v", entries, err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(rootfs, "gourd"))
	if err != nil || string(copied) != string(self) {
		t.Errorf("the copy has %d bytes, the program %d: %v", len(copied), len(self), err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("the copy cannot be executed: %v, %v", info.Mode(), err)
	}
	if r := try(nil, "spec", "--hello", "--bundle", dir); r.code != 1 {
		t.Error("a second one overwrites the first")
	}
}
