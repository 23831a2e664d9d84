package conformance

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const module = "github.com/opencontainers/runtime-tools"

// inside is the program that most of the others have run in a container.
const inside = "runtimetest"

// programsVariable names the environment variable with the directory of the
// programs, where somebody has built them: in the virtual machine there is no go.
const programsVariable = "GOURD_TEST_PROGRAMS"

// programs returns the directory of the programs, with the root filesystem that
// they want beside them, and their names. It builds them where they are not in
// the cache.
func programs(t *testing.T) (dir string, names []string) {
	t.Helper()
	if dir = os.Getenv(programsVariable); dir == "" {
		dir = cached(t)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if name := e.Name(); name != inside && !strings.HasSuffix(name, ".tar.gz") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return dir, names
}

var into = flag.String("into", "", "copy the programs into this directory (TestPrograms)")

// TestPrograms builds the programs, and copies them for tests/vm.
func TestPrograms(t *testing.T) {
	dir, names := programs(t)
	if len(names) == 0 {
		t.Errorf("there are no programs in %s", dir)
	}
	if *into == "" {
		return
	}
	if err := os.CopyFS(*into, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
}

// cached returns the directory of the programs in the cache.
func cached(t *testing.T) (dir string) {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = "/var/cache"
	}
	cache = filepath.Join(cache, "gourd-tests")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(cache, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // somebody else may be building
		t.Fatal(err)
	}
	hash := sha256.New()
	for _, f := range []string{"tools/go.mod", "tools/go.sum", "build_test.go"} {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(data)
	}
	fmt.Fprint(hash, runtime.Version(), runtime.GOARCH)
	dir = filepath.Join(cache, fmt.Sprintf("runtime-tools-%x", hash.Sum(nil)[:6]))
	if _, err := os.Stat(dir); err != nil {
		build(t, cache, dir)
	}
	return dir
}

func build(t *testing.T, cache, dir string) {
	t.Helper()
	building, err := os.MkdirTemp(cache, "building.")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(building)
	if err := os.Chmod(building, 0o755); err != nil {
		t.Fatal(err)
	}
	overlay := withNofile(t)
	goTool(t, "build", "-trimpath", "-ldflags=-s -w", "-overlay", overlay, "-o", building, "tool")

	source := strings.TrimSpace(goTool(t, "list", "-m", "-f", "{{.Dir}}", module))
	tarball := "rootfs-" + runtime.GOARCH + ".tar.gz"
	data, err := os.ReadFile(filepath.Join(source, tarball))
	if err != nil {
		t.Skipf("runtime-tools has no root filesystem for this architecture: %v", err)
	}
	if err := os.WriteFile(filepath.Join(building, tarball), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(building, dir); err != nil {
		t.Fatal(err)
	}
}

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "tools"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// withNofile returns an overlay in which a Go program does not raise its limit
// on open files when it starts. Go had no such thing when runtime-tools was
// written, whose runtimetest looks at what limit it was given.
func withNofile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(strings.TrimSpace(goTool(t, "env", "GOROOT")), "src/syscall/rlimit.go")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(data), "\nfunc init() {")
	if !ok {
		t.Fatalf("%s: does not raise the limit on open files in the way that is known here", file)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "rlimit.go")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	for name, content := range map[string]string{
		changed: before + "\nfunc raiseNofile() {" + after,
		overlay: string(text),
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}
