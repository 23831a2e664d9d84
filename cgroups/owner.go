package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// writableCgroupMount tells whether the mounts have a read-write cgroup
// filesystem at /sys/fs/cgroup. Of several mounts there the last one counts.
func writableCgroupMount(mounts []specs.Mount) bool {
	for i := len(mounts) - 1; i >= 0; i-- {
		m := &mounts[i]
		if path.Clean(m.Destination) != "/sys/fs/cgroup" {
			continue
		}
		if m.Source != "cgroup" && m.Type != "cgroup" && m.Type != "cgroup2" {
			return false
		}
		for _, o := range m.Options {
			if o == "ro" || o == "rro" {
				return false
			}
		}
		return true
	}
	return false
}

// handOver gives the directory and the files that the kernel lists in
// /sys/kernel/cgroup/delegate to uid, and nothing else: with another file the
// container could lift its own limits (runtime-spec, "Cgroup ownership").
func (c *Cgroup) handOver(uid int) error {
	list, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	if err != nil { // kernels before 4.15
		list = []byte("cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n")
	}
	if err := unix.Fchownat(c.fd, "", uid, -1, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give cgroup %s to uid %d: %w", c.rec.Path, uid, err)
	}
	for line := range bytes.Lines(list) {
		name := string(bytes.TrimSpace(line))
		if name == "" || bytes.ContainsRune(line, '/') {
			continue
		}
		err := unix.Fchownat(c.fd, name, uid, -1, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.ENOENT) { // not every cgroup has every file
			return fmt.Errorf("give %s of cgroup %s to uid %d: %w", name, c.rec.Path, uid, err)
		}
	}
	return nil
}
