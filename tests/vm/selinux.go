package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// policyFile is the payload's SELinux policy, as the kernel takes it;
// policySource is what it is made of, in the work tree.
const (
	policyFile   = "selinux.policy"
	policySource = "tests/vm/selinux.conf"
)

// policyVersion is the format of the policy: no kernel of these years is older.
const policyVersion = "33"

// addPolicy adds the SELinux policy, if the plan needs it. What it says nothing
// about is allowed.
func (p payload) addPolicy(pl plan) error {
	if !slices.ContainsFunc(pl.Steps, func(s step) bool { return s.SELinux }) {
		return nil
	}
	return runTool("checkpolicy", "-M", "-U", "allow", "-c", policyVersion,
		"-o", filepath.Join(p.dir, policyFile), filepath.Join(p.repo, policySource))
}

// enforceSELinux loads the policy of the payload and enforces it, if this machine
// was booted with SELinux. It returns what is to be told of the machine then.
//
// systemd would load a policy at the boot, and be one more that takes part: with
// this one it is the kernel alone that decides, as it is for containers.
func enforceSELinux(root string) ([]string, error) {
	const dir = "/sys/fs/selinux"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the kernel makes it where SELinux is enabled
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", dir, err)
	}
	if uint32(st.Type) != unix.SELINUX_MAGIC {
		if err := unix.Mount("selinuxfs", dir, "selinuxfs", unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil {
			return nil, fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	policy, err := os.ReadFile(filepath.Join(root, policyFile))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(dir+"/load", policy, 0), os.WriteFile(dir+"/enforce", []byte("1"), 0)); err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/attr/current")
	return []string{fmt.Sprintf("SELinux: enforcing a policy of the tests' own (%s); they run as %s", policySource, self)}, err
}
