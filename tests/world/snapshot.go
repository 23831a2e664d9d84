package world

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Snapshot is what can be left behind in a world, each thing as a line.
type Snapshot []string

// Take lists the processes, mounts, cgroups and network devices of the world,
// the open files of this process, and all files below dirs.
func Take(dirs ...string) (Snapshot, error) {
	var s Snapshot
	for _, part := range []func() ([]string, error){processes, mounts, cgroups, links, fds} {
		lines, err := part()
		if err != nil {
			return nil, err
		}
		s = append(s, lines...)
	}
	for _, dir := range dirs {
		lines, err := files(dir)
		if err != nil {
			return nil, err
		}
		s = append(s, lines...)
	}
	slices.Sort(s)
	return s, nil
}

// Diff returns what is in one of the two only: "+ line" is new in after,
// "- line" is gone.
func (before Snapshot) Diff(after Snapshot) []string {
	var d []string
	for _, l := range after {
		if _, found := slices.BinarySearch(before, l); !found {
			d = append(d, "+ "+l)
		}
	}
	for _, l := range before {
		if _, found := slices.BinarySearch(after, l); !found {
			d = append(d, "- "+l)
		}
	}
	return d
}

// exitGrace is how long a process that was told to end may take to do so.
const exitGrace = 3 * time.Second

// Since returns what has changed since before was taken of the same dirs: see
// Diff. A process that is just on its way out is waited for a little.
func (before Snapshot) Since(dirs ...string) ([]string, error) {
	pids, err := pids()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if _, old := slices.BinarySearch(before, processLine(pid)); old {
			continue
		}
		if _, err := WaitExit(pid, time.Now().Add(exitGrace)); err != nil {
			return nil, err
		}
	}
	after, err := Take(dirs...)
	if err != nil {
		return nil, err
	}
	return before.Diff(after), nil
}

// pids lists the processes of the world but for pid 1 and this one.
func pids() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != 1 && pid != os.Getpid() {
			out = append(out, pid)
		}
	}
	return out, nil
}

func processLine(pid int) string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return fmt.Sprintf("process %d %s", pid, strings.ReplaceAll(string(cmdline), "\x00", " "))
}

func processes() ([]string, error) {
	pids, err := pids()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, pid := range pids {
		line := processLine(pid)
		if ended, err := WaitExit(pid, time.Now()); err == nil && !ended {
			out = append(out, line)
		}
	}
	return out, nil
}

// WaitExit waits until the process has ended, or until the deadline; it
// reports which. A process that does not exist has ended.
func WaitExit(pid int, deadline time.Time) (bool, error) { return WaitExitOr(pid, -1, deadline) }

// WaitExitOr is WaitExit that gives up, too, when fd can be read; -1 is none.
func WaitExitOr(pid, fd int, deadline time.Time) (bool, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL { // or its number lives on as that of a session
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(pidfd)
	return waitReadable(pidfd, fd, deadline)
}

// WaitReadable waits until fd can be read, or until the deadline; it reports
// which.
func WaitReadable(fd int, deadline time.Time) (bool, error) { return waitReadable(fd, -1, deadline) }

// waitReadable waits until fd or other can be read, or until the deadline; it
// reports whether it was fd. poll(2) passes over a negative fd.
func waitReadable(fd, other int, deadline time.Time) (bool, error) {
	for {
		ms := max(0, time.Until(deadline).Milliseconds())
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(other), Events: unix.POLLIN}}
		_, err := unix.Poll(p, int(min(ms, 1<<30)))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("poll: %w", err)
		}
		return p[0].Revents != 0, nil
	}
}

func mounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		// Without the ids, which a remount elsewhere may shift.
		f := strings.Fields(line)
		out = append(out, "mount "+strings.Join(f[3:], " "))
	}
	return out, nil
}

func cgroups() ([]string, error) {
	var out []string
	for _, dir := range deepestFirst("/sys/fs/cgroup") {
		out = append(out, "cgroup "+dir)
	}
	return out, nil
}

// links lists the network devices, by the way of /proc, which is always of
// the reader's network namespace.
func links() ([]string, error) {
	data, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			out = append(out, "network device "+strings.TrimSpace(name))
		}
	}
	return out, nil
}

// fds lists what this process has open by what it is, since numbers and
// inodes differ; Go's own event files are left out.
func fds() ([]string, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") || strings.HasSuffix(to, "/fd") {
			continue // the directory just read, epoll, eventfd
		}
		out = append(out, "fd "+e.Name()+" "+to)
	}
	return out, nil
}

func files(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		}
		if path == "/run/criu.kdat" {
			return nil // CRIU's memory of what the kernel can, which is the machine's
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		size := i.Size()
		if d.IsDir() {
			size = 0
		}
		out = append(out, fmt.Sprintf("file %s %v %d", path, i.Mode(), size))
		return nil
	})
	return out, err
}
