package rootfs

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// userNSChild is the variable that makes the test binary the process inside.
const userNSChild = "GOURD_TEST_USERNS_DIR"

// inUserNS runs the calling test again as a process in new namespaces, a user
// namespace among them, in which every id is mapped to itself. There, it runs
// body, on a locked thread.
func inUserNS(t *testing.T, body func(dir string)) {
	t.Helper()
	if dir := os.Getenv(userNSChild); dir != "" {
		done := make(chan struct{})
		go func() {
			defer close(done)
			must(t, "unshare", unix.Unshare(unix.CLONE_FS))
			body(dir)
		}()
		<-done
		return
	}
	dir := t.TempDir()
	mkdir(t, dir+"/rootfs")
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), userNSChild+"="+dir)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC |
			unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings: ids, GidMappings: ids, Pdeathsig: unix.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !slices.Contains(strings.Split(string(out), "\n"), "PASS") {
		t.Errorf("in the user namespace: %v\n%s", err, out)
	}
}

// TestUserNamespace goes all the way in a user namespace, where devices cannot
// be made and the kernel looks at what can be seen of procfs.
func TestUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it maps more than one id")
	}
	inUserNS(t, func(dir string) {
		s := example(fsMounts()...)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace})
		s.Linux.Sysctl = map[string]string{"kernel.shmmni": "77"}
		s.Linux.MaskedPaths = opts("/proc/kcore", "/sys/firmware")
		s.Linux.ReadonlyPaths = opts("/proc/sys")
		s.Root.Readonly = true
		r := pivoted(t, dir, s, func(p *Plan) { p.BindDevices = true })
		must(t, "WriteSysctls", r.WriteSysctls())
		master, slave, err := r.Console(0, 0)
		must(t, "Console", err)
		master.Close()
		slave.Close()
		must(t, "Finish", r.Finish())
		if got := read(t, "/proc/sys/kernel/shmmni"); got != "77\n" {
			t.Errorf("the sysctl is %q", got)
		}
		if got := entries(t, "/sys/firmware"); len(got) > 0 {
			t.Errorf("/sys/firmware holds %v", got)
		}
		if err := os.WriteFile("/dev/null", []byte("x"), 0); err != nil {
			t.Error(err)
		}
	})
}

// TestUserNamespaceKeepsLockedFlags: a flag of the source's mount that the
// host has set can be kept or added to, and not taken away.
func TestUserNamespaceKeepsLockedFlags(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	inUserNSOf(t, func() {
		must(t, "mount", unix.Mount("tmpfs", "/mnt", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, ""))
	}, func(dir string) {
		for _, o := range [][]string{{"bind"}, {"bind", "ro", "nosuid", "noexec"}, {"bind", "noatime"}, {"bind", "rw", "exec"}} {
			mounted(t, dir, example(specs.Mount{Source: "/mnt", Destination: "/m", Options: o}))
			wantOptions(t, dir+"/rootfs/m", "nosuid nodev noatime")
		}
		for _, o := range []string{"suid", "dev", "relatime"} {
			err := failing(t, dir, example(specs.Mount{Source: "/mnt", Destination: "/m", Options: opts("bind", o)}))
			if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "is locked") {
				t.Errorf("%s gives %v", o, err)
			}
		}
	})
}

// TestUserNamespaceWithMaskedProc: sysctls are written where the kernel gives
// no procfs, because the one that can be seen is masked.
func TestUserNamespaceWithMaskedProc(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	inUserNSOf(t, func() {
		must(t, "mask", unix.Mount("tmpfs", "/proc/fs", "tmpfs", 0, ""))
		must(t, "make", os.WriteFile("/proc/fs/fake", nil, 0o666))
	}, func(dir string) {
		if _, err := linux.NewFilesystem("proc", "", nil, 0); !errors.Is(err, unix.EPERM) {
			t.Fatalf("a new procfs gives %v: nothing is shown", err)
		}
		s := example()
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace})
		s.Linux.Sysctl = map[string]string{"kernel.shmmni": "78"}
		r := open(t, planFor(t, dir, s))
		must(t, "WriteSysctls", r.WriteSysctls())
		if got := read(t, "/proc/sys/kernel/shmmni"); got != "78\n" {
			t.Errorf("the sysctl is %q", got)
		}
		if err := r.writeSysctl(&Sysctl{File: "fs/fake", Value: "1"}); !errors.Is(err, unix.EXDEV) {
			t.Errorf("writing to what is mounted over procfs gives %v", err)
		}
	})
}

// inUserNSOf is inUserNS of a host that setup has changed, in namespaces of
// its own.
func inUserNSOf(t *testing.T, setup func(), body func(dir string)) {
	t.Helper()
	if os.Getenv(userNSChild) != "" {
		inUserNS(t, body)
		return
	}
	isolated(t, func(string) {
		setup()
		inUserNS(t, body)
	})
}
