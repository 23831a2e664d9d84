package world

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// runInit is pid 1 of a world. It gives it its own /proc and /run, starts the
// inside and reaps what becomes an orphan, until the inside is over. When it
// returns the kernel ends whatever is left.
func runInit() int {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "world: init is not pid 1")
		return 2
	}
	way, err := TheWay()
	if err == nil {
		err = furnish(way)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		return 2
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), stageVar+"="+stageInside)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(resultFD, "result")}
	// The cgroup namespace's root is the cgroup that this process was born
	// in, the world's own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWCGROUP, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "world:", err)
		return 2
	}
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, "world: wait:", err)
			return 2
		case pid != cmd.Process.Pid:
		case ws.Signaled():
			fmt.Fprintln(os.Stderr, "world: the inside was ended by", ws.Signal())
			return 2
		default:
			return ws.ExitStatus()
		}
	}
}

// furnish mounts what pid 1 provides: nothing shared with the host, a /proc of
// this pid namespace, a /run that is all but empty.
func furnish(way Way) error {
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID, "mode=755"},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	// util-linux makes the first at its first mount, which would look like a leak.
	for _, dir := range []string{"/run/mount", Scratch} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if way == Rootless {
		return furnishUser()
	}
	return nil
}

// Scratch is where an inside may keep files: the world's own, and short, since
// socket paths are.
const Scratch = "/run/w"

// Suite is the cgroup, seen from inside of the world, that holds the test itself.
const Suite = "/suite"

// runInside shows the world its cgroups, leaves the root of them, and calls
// the inside: in the way Rootless as the ordinary user, in the second of two
// stages.
func runInside(stage string, insides map[string]Inside, prepare []Preparation) int {
	t := &T{}
	t.do(func() {
		if stage == stageInside {
			if err := asRoot(prepare); err != nil {
				t.Fatal(err)
			}
		}
		unix.CloseOnExec(resultFD)
		os.Unsetenv(stageVar)
		if err := leaveRoot(); err != nil {
			t.Fatal(err)
		}
		inside, arg := os.Args[1], os.Args[2]
		f := insides[inside]
		if f == nil {
			t.Fatal("there is no inside named " + inside)
		}
		f(t, arg)
	})
	out := os.NewFile(resultFD, "result")
	data, err := json.Marshal(result{Failed: t.failed, Skipped: t.skipped, Reason: t.reason, Log: t.log.String()})
	if err == nil {
		_, err = out.WriteAt(data, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "world: write result:", err)
		return 2
	}
	return 0
}

// asRoot does what takes root, and then is the ordinary user, if that is the
// way: it does not return then.
func asRoot(prepare []Preparation) error {
	way, err := TheWay()
	if err != nil {
		return err
	}
	if err := pureV2(); err != nil {
		return err
	}
	for _, p := range prepare {
		if err := p(way, os.Args[2]); err != nil {
			return err
		}
	}
	if way == Rootless {
		return becomeUser()
	}
	return nil
}

// cgroupAt is where the world has its cgroup tree.
const cgroupAt = "/sys/fs/cgroup"

// pureV2 replaces what is mounted at /sys/fs/cgroup by the world's cgroup2
// tree.
func pureV2() error {
	const at = cgroupAt
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
		return fmt.Errorf("unmount %s: %w", at, err)
	}
	if err := unix.Mount("cgroup2", at, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount cgroup2 on %s: %w", at, err)
	}
	return nil
}

// leaveRoot moves the world's two processes to a leaf of its cgroup tree, so
// that their containers may stand beside them and controllers can be enabled.
func leaveRoot() error {
	const at = cgroupAt
	if err := os.Mkdir(at+Suite, 0o755); err != nil {
		return err
	}
	for _, pid := range []int{1, os.Getpid()} {
		if err := os.WriteFile(at+Suite+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("move %d to %s: %w", pid, Suite, err)
		}
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	if !strings.HasSuffix(strings.TrimSpace(string(own)), "0::"+Suite) {
		return fmt.Errorf("the suite is not in %s but in %q", Suite, own)
	}
	return EnableControllers(at)
}
