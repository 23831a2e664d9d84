package cgroups

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestDevicesInTheKernel opens and makes real nodes in a real cgroup, and
// changes the rules while the cgroup lives.
func TestDevicesInTheKernel(t *testing.T) {
	root := host(t)
	dir := t.TempDir()
	node := func(name string, mode uint32, major, minor uint32) string {
		p := filepath.Join(dir, name)
		if err := unix.Mknod(p, mode|0o666, int(unix.Mkdev(major, minor))); err != nil {
			t.Skipf("cannot make device nodes here: %v", err)
		}
		return p
	}
	null, zero, kmsg, disk := node("null", unix.S_IFCHR, 1, 3), node("zero", unix.S_IFCHR, 1, 5), node("kmsg", unix.S_IFCHR, 1, 11), node("disk", unix.S_IFBLK, 121, 7)

	var d defect.List
	p := Compile(&specs.LinuxResources{Devices: devs("- a *:* rwm", "+ c 1:11 r", "- c 1:5 w")}, Env{Root: root, Own: "/", CgroupsPath: top(t, root)}, &d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	c := createPlan(t, &p)
	try := func(what string) error {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestDeviceAccess$")
		cmd.Env = append(os.Environ(), "GOURD_TEST_ACCESS="+what)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.FD()}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() > 1 {
			return unix.Errno(exit.ExitCode() - 1)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		return nil
	}
	check := func(what string, want error) {
		t.Helper()
		if got := try(what); !errors.Is(got, want) && (got != nil || want != nil) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("rw "+null, nil)
	check("r "+zero, nil)
	check("w "+zero, unix.EPERM)
	check("rw "+zero, unix.EPERM)
	check("r "+kmsg, nil)
	check("w "+kmsg, unix.EPERM)
	check("r "+disk, unix.EPERM)
	check("m "+filepath.Join(dir, "made"), nil)

	// A foreign program beside gourd's stays, and gourd's is replaced.
	foreign, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "other", Type: ebpf.CGroupDevice, License: "MIT",
		Instructions: assemble(&Devices{Char: DeviceRules{Allow: true}, Block: DeviceRules{Allow: true}})})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if err := linux.BPFProgAttach(c.FD(), foreign.FD(), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI, -1); err != nil {
		t.Fatal(err)
	}
	again, err := Open(c.Record())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i, rules := range [][]specs.LinuxDeviceCgroup{devs("- a *:* rwm", "+ c 1:11 rw"), devs("+ a *:* rwm")} {
		devices := compileDevices(rules, &d)
		before := openFDs(t)
		if err := again.attachDevices(&p, &devices); err != nil {
			t.Fatal(err)
		}
		if after := openFDs(t); after != before {
			t.Errorf("%d fds before, %d after", before, after)
		}
		ids, err := linux.BPFProgQuery(c.FD(), unix.BPF_CGROUP_DEVICE)
		if err != nil || len(ids) != 2 {
			t.Errorf("programs %v, %v; want gourd's and the foreign one", ids, err)
		}
		check("w "+kmsg, nil)
		check("w "+zero, nil)
		check("m "+filepath.Join(dir, fmt.Sprint("made", i)), nil)
		want := error(unix.EPERM)
		if i == 1 {
			want = unix.ENXIO // allowed, but there is no such disk: the number is for local use
		}
		check("r "+disk, want)
	}
}

// TestDeviceAccess is the process that TestDevicesInTheKernel starts in the
// cgroup: it tries one access and exits with the errno, plus one.
func TestDeviceAccess(t *testing.T) {
	how, path, ok := strings.Cut(os.Getenv("GOURD_TEST_ACCESS"), " ")
	if !ok {
		t.Skip("only runs in a cgroup of another test's")
	}
	var err error
	switch how {
	case "m":
		err = unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11)))
	default:
		flags := map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR}[how]
		_, err = unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		os.Exit(int(errno) + 1)
	}
	os.Exit(0)
}
