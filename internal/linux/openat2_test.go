package linux

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenInRootStaysInside(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(dir+"/root/etc", 0o755),
		os.WriteFile(dir+"/secret", []byte("outside"), 0o644),
		os.WriteFile(dir+"/root/etc/passwd", []byte("inside"), 0o644),
		os.Symlink("/etc/passwd", dir+"/root/abs"),
		os.Symlink("../../../../etc/passwd", dir+"/root/up"),
		os.Symlink(dir+"/secret", dir+"/root/out"),
		os.Symlink("/proc/self/exe", dir+"/root/magic"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := unix.Open(dir+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	for path, want := range map[string]error{
		"": nil, "/": nil, "..": nil, "/abs": nil, "up": nil, "/../../etc/passwd": nil,
		"out": unix.ENOENT, "../secret": unix.ENOENT, "magic": unix.ENOENT, "etc/passwd/x": unix.ENOTDIR,
	} {
		fd, err := OpenInRoot(root, path, unix.O_RDONLY, 0)
		if err != want {
			t.Errorf("OpenInRoot %q gives %v, want %v", path, err, want)
		}
		if err != nil {
			continue
		}
		if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
			t.Errorf("OpenInRoot %q is not close-on-exec (%v)", path, err)
		}
		unix.Close(fd)
	}
	if _, err := OpenInRoot(root, "abs", unix.O_RDONLY, unix.RESOLVE_NO_SYMLINKS); err != unix.ELOOP {
		t.Errorf("a symlink that is not to be followed gives %v", err)
	}
	if _, err := OpenBeneath(root, "up", unix.O_RDONLY); err != unix.ELOOP {
		t.Errorf("OpenBeneath follows a symlink: %v", err)
	}
	if _, err := OpenBeneath(root, "../secret", unix.O_RDONLY); err != unix.EXDEV {
		t.Errorf("OpenBeneath leaves its directory: %v", err)
	}
	if got, err := Readlinkat(root, "abs"); got != "/etc/passwd" || err != nil {
		t.Errorf("Readlinkat is %q, %v", got, err)
	}
	if _, err := Readlinkat(root, "etc"); err != unix.EINVAL {
		t.Errorf("Readlinkat of a directory gives %v", err)
	}
}

func TestOpenBeneathDoesNotCrossMounts(t *testing.T) {
	proc, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(proc)
	if fd, err := OpenBeneath(proc, "proc/version", unix.O_RDONLY); err != unix.EXDEV {
		t.Errorf("OpenBeneath gives %d, %v", fd, err)
	}
}

func TestNeedsKernel(t *testing.T) {
	if got := NeedsKernel("5.12", unix.ENOSYS).Error(); got != "function not implemented (Linux 5.12 or later is needed)" {
		t.Error(got)
	}
	if got := NeedsKernel("5.12", unix.EPERM); got != unix.EPERM {
		t.Error(got)
	}
}
