package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// The main thread stays the main goroutine's: /proc/self is about it, and a
// test that took it for its namespaces would never give it back.
func init() { runtime.LockOSThread() }

// TestMain fails when the tests leave a mount or an open file behind.
func TestMain(m *testing.M) {
	// The runtime's poller opens files of its own at its first use.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	mounts, fds := readMountinfo(), openFiles()
	code := m.Run()
	if os.Getenv(userNSChild) != "" {
		os.Exit(code) // it has pivoted, and takes its namespaces with it
	}
	if after := readMountinfo(); after != mounts {
		fmt.Fprintf(os.Stderr, "mounts are left behind; now:\n%s", after)
		code = 1
	}
	if after := openFiles(); len(after) > len(fds) {
		fmt.Fprintf(os.Stderr, "files are left open: before %v, after %v\n", fds, after)
		code = 1
	}
	os.Exit(code)
}

func readMountinfo() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		panic(err)
	}
	return string(b)
}

func openFiles() []string {
	var out []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(name, "/proc/") {
			out = append(out, e.Name()+"="+name)
		}
	}
	return out
}

// isolated runs body on a thread of its own, in new mount, ipc, uts, network
// and cgroup namespaces, as init would be. The thread ends with it, and its
// namespaces and mounts too. body must not call t.Run. dir is an empty
// directory that lies on a tmpfs; dir/rootfs exists.
func isolated(t *testing.T, body func(dir string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		const ns = unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
		must(t, "unshare", unix.Unshare(ns))
		must(t, "make / private", unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
		must(t, "mount tmpfs", unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
		must(t, "mkdir", os.Mkdir(dir+"/rootfs", 0o755))
		body(dir)
	}()
	<-done
}

// newMountNS moves the thread into a copy of its mount namespace, as a
// container's init is in a copy of the host's. The old one, whose shared mounts
// have a peer now, stays until the test ends; the returned function looks at it.
func newMountNS(t *testing.T) (inHost func(func())) {
	t.Helper()
	host, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, "open mount namespace", err)
	t.Cleanup(func() { unix.Close(host) })
	must(t, "unshare", unix.Unshare(unix.CLONE_NEWNS))
	return func(f func()) {
		own, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, "open mount namespace", err)
		defer unix.Close(own)
		must(t, "setns", unix.Setns(host, unix.CLONE_NEWNS))
		f()
		must(t, "setns", unix.Setns(own, unix.CLONE_NEWNS))
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// planFor compiles s with the bundle dir, and fails on a defect.
func planFor(t *testing.T, dir string, s *specs.Spec) *Plan {
	t.Helper()
	var d defect.List
	p := Compile(s, Env{Bundle: dir, HostUserNS: true, NewCgroupNS: true}, &d)
	must(t, "compile", d.Err())
	return &p
}

// open opens the root of p and closes it when the test ends.
func open(t *testing.T, p *Plan) *Root {
	t.Helper()
	r, err := Open(p, nil)
	must(t, "Open", err)
	t.Cleanup(func() { r.Close() })
	return r
}

// mounted opens the root of s and makes its mounts.
func mounted(t *testing.T, dir string, s *specs.Spec) *Root {
	t.Helper()
	r := open(t, planFor(t, dir, s))
	must(t, "Mount", r.Mount())
	return r
}

// failing is mounted for what must fail; it returns the error.
func failing(t *testing.T, dir string, s *specs.Spec) error {
	t.Helper()
	r := open(t, planFor(t, dir, s))
	err := r.Mount()
	if err == nil {
		t.Fatal("Mount succeeded")
	}
	return err
}

// mountAt returns the topmost mount at the path, as this thread sees it.
func mountAt(t *testing.T, path string) *mountinfo.Info {
	t.Helper()
	ms, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	must(t, "read mountinfo", err)
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (bool, bool) { return m.Mountpoint != path, false })
	must(t, "read mountinfo", err)
	if len(ms) == 0 {
		t.Fatalf("nothing is mounted on %s", path)
	}
	return all[len(all)-1]
}

func isMounted(t *testing.T, path string) bool {
	t.Helper()
	ms, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	must(t, "read mountinfo", err)
	return len(ms) > 0
}

// wantOptions checks that the mount at path has, and has not, some options;
// "!" leads those that it must not have.
func wantOptions(t *testing.T, path, want string) {
	t.Helper()
	m := mountAt(t, path)
	have := strings.Split(m.Options, ",")
	for _, o := range strings.Fields(want) {
		name, not := strings.CutPrefix(o, "!")
		if slices.Contains(have, name) == not {
			t.Errorf("%s is mounted %s, want %s", path, m.Options, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, "mkdir", os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, "write", os.WriteFile(path, []byte(text), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, "read", err)
	return string(b)
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	must(t, "mkdir", os.MkdirAll(path, 0o755))
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	must(t, "symlink", os.Symlink(target, path))
}

// entries returns the names in a directory.
func entries(t *testing.T, path string) []string {
	t.Helper()
	es, err := os.ReadDir(path)
	must(t, "readdir", err)
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

// fsMounts are the mounts that engines always ask for.
func fsMounts() []specs.Mount {
	return []specs.Mount{
		{Type: "proc", Source: "proc", Destination: "/proc", Options: opts("nosuid", "noexec", "nodev")},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/dev", Options: opts("nosuid", "strictatime", "mode=755", "size=65536k")},
		{Type: "devpts", Source: "devpts", Destination: "/dev/pts", Options: opts("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")},
		{Type: "tmpfs", Source: "shm", Destination: "/dev/shm", Options: opts("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")},
		{Type: "mqueue", Source: "mqueue", Destination: "/dev/mqueue", Options: opts("nosuid", "noexec", "nodev")},
		{Type: "sysfs", Source: "sysfs", Destination: "/sys", Options: opts("nosuid", "noexec", "nodev", "ro")},
		{Type: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Options: opts("nosuid", "noexec", "nodev", "relatime", "ro")},
	}
}

// pivoted is mounted, followed by Pivot: from there on, paths of this thread
// are the container's. The standard descriptors, which Pivot may replace, are
// put back when the test ends.
func pivoted(t *testing.T, dir string, s *specs.Spec, change ...func(*Plan)) *Root {
	t.Helper()
	for fd := range 3 {
		saved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		must(t, "dup", err)
		t.Cleanup(func() {
			unix.Dup3(saved, fd, 0)
			unix.Close(saved)
		})
	}
	p := planFor(t, dir, s)
	for _, f := range change {
		f(p)
	}
	r := open(t, p)
	must(t, "Mount", r.Mount())
	must(t, "Pivot", r.Pivot())
	return r
}
