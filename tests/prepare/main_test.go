package prepare

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

func TestMain(m *testing.M) {
	world.Main(m, map[string]world.Inside{
		"script": runScript,
		"kill":   killSteps,
	})
}

// images makes the images once and returns where they are.
var images = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("GOURD_TEST_IMAGES"); dir != "" {
		if _, err := os.Stat(dir + "/img/index.json"); err == nil {
			return dir, nil // kept by a developer, or made for a virtual machine
		}
	}
	dir := os.Getenv("GOURD_TEST_IMAGES")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "gourd-prepare-images-"); err != nil {
			return "", err
		}
		cleanups = append(cleanups, func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil { // ordinary users read it, too
			return "", err
		}
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	debian, err := exec.Command("../debian-rootfs").Output()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "testdata/images.sh", dir, strings.TrimSpace(string(debian)))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return dir, cmd.Run()
})

var cleanups []func()

// needs skips where the tools are not there, and makes the images.
func needs(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is needed: layers have devices and owners")
	}
	if _, err := os.Stat(os.Getenv("GOURD_TEST_IMAGES") + "/img/index.json"); err == nil {
		return os.Getenv("GOURD_TEST_IMAGES")
	}
	for _, tool := range []string{"umoci", "skopeo", "buildah", "jq", "setfattr", "setcap", "setfacl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v (tests/install-deps installs it)", err)
		}
	}
	dir, err := images()
	if err != nil {
		t.Fatalf("make the images: %v", err)
	}
	return dir
}

// TestScripts runs every script of testdata, with layers as directories and,
// where the kernel can, with EROFS.
func TestScripts(t *testing.T) {
	dir := needs(t)
	t.Cleanup(func() {
		for _, f := range cleanups {
			f()
		}
	})
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts in testdata", err)
	}
	slices.Sort(scripts)
	t.Setenv("GOURD_TEST_IMAGES", dir)
	for _, format := range []string{"directory", "erofs"} {
		t.Run(format, func(t *testing.T) {
			t.Setenv("GOURD_TEST_FORMAT", format)
			if format == "erofs" && !fileBackedEROFS() {
				t.Skip("the kernel has no EROFS")
			}
			for _, s := range scripts {
				t.Run(strings.TrimSuffix(filepath.Base(s), ".txtar"), func(t *testing.T) {
					world.Run(t, "script", s+" "+t.TempDir())
				})
			}
		})
	}
}

// fileBackedEROFS tells whether the kernel may have EROFS at all.
func fileBackedEROFS() bool {
	data, err := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(data), "erofs")
}
