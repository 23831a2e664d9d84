package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Find tells where cgroup2 is mounted (root, an absolute path) and in which
// cgroup of it this process is (own, an absolute path below root: "/" or
// "/user.slice/…"). Both are empty when no cgroup2 is mounted. It looks at
// /sys/fs/cgroup, then at /sys/fs/cgroup/unified where hybrid hosts have it,
// and only then through the mount table (cgroups(7), "Cgroups version 2").
//
// Where the process is outside of its cgroup namespace's root, own starts with
// "/.." as the kernel shows it (cgroup_namespaces(7)).
func Find() (root, own string, err error) {
	defer trace.Begin("find the cgroups").End()
	if root, err = findRoot(); err != nil || root == "" {
		return "", "", err
	}
	own, err = ownCgroup("/proc/self/cgroup")
	return root, own, err
}

func findRoot() (string, error) {
	for _, dir := range [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		err := ignoringEINTR(func() error { return unix.Statfs(dir, &st) })
		if err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOTDIR) {
			return "", fmt.Errorf("find the cgroup2 mount: statfs %s: %w", dir, err)
		}
	}
	table, err := linux.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the cgroup2 mount: %w", err)
	}
	return cgroup2Mount(table), nil
}

// cgroup2Mount returns the mount point of the first cgroup2 in a mountinfo
// table (proc_pid_mountinfo(5)), or "". A mount of only a part of the hierarchy
// (field 4 is not "/") is passed over: paths would mean something else there.
func cgroup2Mount(table []byte) string {
	for line := range bytes.Lines(table) {
		before, after, ok := bytes.Cut(line, []byte(" - "))
		if !ok || !bytes.HasPrefix(after, []byte("cgroup2 ")) {
			continue
		}
		fields := bytes.Fields(before)
		if len(fields) >= 5 && string(fields[3]) == "/" {
			return unescapeMount(string(fields[4]))
		}
	}
	return ""
}

// unescapeMount undoes the octal escapes of a mount table (space, tab, newline
// and backslash).
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// OfProcess returns the cgroup that a process is in, as an absolute path below
// the cgroup2 root.
func OfProcess(pid int) (string, error) {
	return ownCgroup("/proc/" + strconv.Itoa(pid) + "/cgroup")
}

// ownCgroup returns the path of the "0::" line of a /proc/PID/cgroup file.
func ownCgroup(file string) (string, error) {
	data, err := linux.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("find the cgroup of a process: %w", err)
	}
	p, ok := cgroup2Line(data)
	if !ok {
		return "", fmt.Errorf("find the cgroup of a process: %s has no line for cgroup v2", file)
	}
	return p, nil
}

// cgroup2Line returns the path of the "0::" line. The kernel appends
// " (deleted)" when the cgroup is gone; no cgroup is found then.
func cgroup2Line(data []byte) (string, bool) {
	for line := range bytes.Lines(data) {
		if p, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			p = bytes.TrimSuffix(p, []byte("\n"))
			if bytes.HasSuffix(p, []byte(" (deleted)")) {
				return "", false
			}
			return string(p), true // not cleaned: a leading "/.." tells something
		}
	}
	return "", false
}
