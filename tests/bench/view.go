package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the private view of cgroup v2 is mounted.
const cgroupRoot = "/sys/fs/cgroup"

// again runs this program as another part, in namespaces of its own.
func again(o *options, stage, dir string) error {
	cmd := exec.Command("/proc/self/exe", "-stage", stage, "-dir", dir, "-n", strconv.Itoa(o.runs), "-cases", o.cases,
		"-runtimes", o.runtimes, "-gourd", o.gourd, "-docs", o.docs, "-alive", strconv.Itoa(o.alive))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if stage == "measure" {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
	}
	// An interrupt is for who measures; who comes before it cleans up then.
	signal.Ignore(os.Interrupt, unix.SIGTERM)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("the benchmark ended: %s", exit)
	}
	return err
}

// inView makes the pure cgroup v2 view, has pid 1 of a pid namespace measure,
// and removes the cgroups that are left.
func inView(o *options) (err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Unmount(cgroupRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", cgroupRoot, err)
	}
	if err := unix.Mount("cgroup2", cgroupRoot, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	root := filepath.Join(cgroupRoot, cgroupName(os.Getpid()))
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeCgroups(root)) }()
	// The floor is part of what is measured: as the others it lies in memory.
	work := "/run/bench"
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(o.dir, "floor"), filepath.Join(work, "floor"), 0o755); err != nil {
		return err
	}
	if err := os.Setenv("GOURD_BENCH_CGROUP", filepath.Base(root)); err != nil {
		return err
	}
	return again(o, "measure", work)
}

func cgroupName(pid int) string { return "gourd-bench-" + strconv.Itoa(pid) }

// removeCgroups removes a cgroup and those below it; their processes are gone.
func removeCgroups(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		err = errors.Join(err, unix.Rmdir(dirs[i]))
	}
	return err
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}
