package credentials

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openDir opens a directory as the root of a procfs, which it need not be.
func openDir(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestOwnTask(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	got, err := ownTask(openDir(t, "/proc"))
	want, werr := os.Readlink("/proc/thread-self")
	if err != nil || werr != nil || got != want {
		t.Errorf("got %q, %v; want %q, %v", got, err, want, werr)
	}
	for _, target := range []string{"1/task", "1/task/2/3", "../task/1", "1/../2", "self/task/1", "/1/task/2", "1//2", "1/task/", "-1/task/1"} {
		dir := t.TempDir()
		must(t, os.Symlink(target, filepath.Join(dir, "thread-self")))
		if got, err := ownTask(openDir(t, dir)); err == nil {
			t.Errorf("a fake procfs with %q: %q", target, got)
		}
	}
	if _, err := ownTask(openDir(t, t.TempDir())); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an empty directory: %v", err)
	}
}

// What is written where the kernel has the file, and that nothing is followed
// on the way there: here in a made-up tree, for the test's host may have no LSM.
func TestWriteAttr(t *testing.T) {
	make := func(t *testing.T) string {
		dir := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(dir, "7/task/8/attr/apparmor"), 0o755))
		must(t, os.Symlink("7/task/8", filepath.Join(dir, "thread-self")))
		return dir
	}
	dir := make(t)
	file := filepath.Join(dir, "7/task/8/attr/apparmor/exec")
	must(t, os.WriteFile(file, nil, 0o644))
	must(t, writeAttr(openDir(t, dir), "apparmor/exec", "exec docker-default"))
	if b, err := os.ReadFile(file); err != nil || string(b) != "exec docker-default" {
		t.Errorf("got %q, %v", b, err)
	}
	dir = make(t)
	other := filepath.Join(dir, "other")
	must(t, os.WriteFile(other, nil, 0o644))
	must(t, os.Symlink("../../../../other", filepath.Join(dir, "7/task/8/attr/exec")))
	if err := writeAttr(openDir(t, dir), "exec", "x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a symlink: %v", err)
	}
	if b, err := os.ReadFile(other); err != nil || len(b) > 0 {
		t.Errorf("it was written through: %q, %v", b, err)
	}
	proc := openDir(t, dir)
	if !attrExists(proc, "apparmor") || attrExists(proc, "selinux") {
		t.Error("attrExists is wrong")
	}
}

// A label is never left out: where the LSM is not there after all, it fails.
func TestExecLabelsWithoutLSM(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err == nil {
		t.Skip("this host has AppArmor")
	}
	p := plain()
	if err := p.ExecLabels(); err != nil {
		t.Errorf("none asked for: %v", err)
	}
	p.AppArmorProfile = "gourd-test"
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.ExecLabels(); err == nil || !strings.HasPrefix(err.Error(), `process.apparmorProfile: set "gourd-test": `) {
		t.Errorf("got %v", err)
	}
}
