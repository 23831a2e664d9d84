package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A recipe is all that decides what the machine's disk holds. A change of it
// makes another machine: the cache is keyed by its hash.
type recipe struct {
	Suite    string
	Packages []string
	Before   []file   // there before the packages are configured
	After    []file   // written over what the packages made
	Commands []string // run in the root filesystem, at the end
	SizeMiB  int      // of the disk, which is sparse
}

// A file of the machine, readable by all.
type file struct{ Path, Text string }

// theMachine is the only recipe: Debian 13, as small as the tests allow.
func theMachine() recipe {
	return recipe{
		Suite: "trixie",
		Packages: []string{
			"linux-image-cloud-amd64", "initramfs-tools", "zstd", "kmod", "udev",
			"systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd",
			"apparmor", "uidmap", "procps", "iproute2", "util-linux",
			"busybox-static", "jq",
			"criu", "iptables", // checkpoint and restore; what criu locks the network with
			"runc",                                                                                          // the oracle
			"docker.io", "docker-cli", "docker-buildx", "containerd", "containernetworking-plugins", "tini", // tests/engines; tini is docker run --init
			"podman", "conmon", "catatonit", "netavark", "aardvark-dns", "nftables", "passt", "slirp4netns", "fuse-overlayfs", "buildah",
		},
		Before: []file{
			// What the virtual machine needs to find its disk, and no more:
			// emulated, unpacking a large initrd takes long.
			{"/etc/initramfs-tools/conf.d/tests", "MODULES=list\nCOMPRESS=zstd\n"},
			{"/usr/share/initramfs-tools/modules.d/tests", "virtio_pci\nvirtio_blk\next4\n"},
		},
		After: []file{
			{"/etc/hostname", "tests\n"},
			{"/etc/machine-id", strings.Repeat("7e57", 8) + "\n"}, // without one, systemd takes every boot for the first
			{"/etc/fstab", "/dev/vda / ext4 noatime 0 0\n/dev/vdb " + payloadDir + " ext4 noatime 0 0\n"},
			{"/etc/systemd/system/tests.service", testsUnit},
			// A machine that is slow because others are busy is not broken; one
			// that cannot come up goes off, rather than wait at a prompt.
			{"/etc/systemd/system.conf.d/slow.conf", "[Manager]\nDefaultTimeoutStartSec=10min\nDefaultDeviceTimeoutSec=10min\n"},
			{"/etc/systemd/system/emergency.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=systemctl poweroff --force --force\n"},
			{"/var/lib/systemd/linger/tester", ""}, // the rootless user's own manager runs from the boot on
		},
		Commands: []string{
			"mkdir " + payloadDir,
			"useradd --create-home --uid 1000 --shell /bin/bash tester",
			"systemctl enable tests.service",
			// The engines' tests start what they need, so that no other boot waits for it.
			"systemctl disable docker.service docker.socket containerd.service podman.service podman.socket podman-auto-update.timer podman-restart.service",
			"systemctl --global mask gpg-agent.socket gpg-agent-ssh.socket gpg-agent-extra.socket gpg-agent-browser.socket dirmngr.socket keyboxd.socket",
			// Nothing but the tests is wanted.
			"systemctl mask ldconfig.service systemd-journal-catalog-update.service systemd-update-done.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-networkd.service getty.target serial-getty@ttyS0.service",
		},
		SizeMiB: 4000,
	}
}

// payloadDir is where the machine mounts the second disk.
const payloadDir = "/payload"

// testsUnit runs the tests and turns the machine off, however they end.
// Delegate makes systemd keep the controllers enabled at the root of the tree,
// where each world of a test has its cgroup.
const testsUnit = `[Unit]
Description=the tests
RequiresMountsFor=` + payloadDir + `
Wants=dev-virtio\x2dports-report.device
After=dev-virtio\x2dports-report.device dbus.service systemd-logind.service apparmor.service user@1000.service
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate

[Service]
Type=oneshot
ExecStart=` + payloadDir + `/vm guest
Delegate=yes
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/console
TasksMax=infinity
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
`

// key names the machine that r makes.
func (r recipe) key() string {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // it is made of strings
	}
	sum := sha256.Sum256(data)
	return "vm-" + r.Suite + "-" + hex.EncodeToString(sum[:6])
}

// A machine is a directory with the files that QEMU boots.
type machine struct{ dir string }

func (m machine) disk() string   { return filepath.Join(m.dir, "disk.img") }
func (m machine) kernel() string { return filepath.Join(m.dir, "vmlinuz") }
func (m machine) initrd() string { return filepath.Join(m.dir, "initrd.img") }

// cacheDir is where machines are kept, outside of any work tree.
func cacheDir() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = "/var/cache"
	}
	return filepath.Join(cache, "gourd-tests")
}

// obtain returns the machine of r, which it builds where the cache has none. It
// takes a minute or two then, and needs root and Debian's archive.
func (r recipe) obtain(say func(string, ...any)) (machine, error) {
	cache := cacheDir()
	m := machine{filepath.Join(cache, r.key())}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return m, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "vm.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return m, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // somebody else may be building it
		return m, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(m.dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	say("building the machine %s, once (a minute or two)", m.dir)
	tmp, err := os.MkdirTemp(cache, "building-vm-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(tmp)
	if err := r.build(tmp); err != nil {
		return m, fmt.Errorf("build the machine: %w", err)
	}
	return m, os.Rename(filepath.Join(tmp, "machine"), m.dir)
}

// build makes tmp/machine.
func (r recipe) build(tmp string) error {
	root, out := filepath.Join(tmp, "root"), filepath.Join(tmp, "machine")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	before, after := filepath.Join(tmp, "before"), filepath.Join(tmp, "after")
	if err := errors.Join(writeFiles(before, r.Before), writeFiles(after, r.After)); err != nil {
		return err
	}
	args := []string{
		"--variant=minbase", "--format=directory",
		"--include=" + strings.Join(r.Packages, ","),
		"--essential-hook=cp -rT " + before + ` "$1"`,
		"--customize-hook=cp -rT " + after + ` "$1"`,
	}
	for _, c := range r.Commands {
		args = append(args, `--customize-hook=chroot "$1" `+c)
	}
	if err := runTool("mmdebstrap", append(args, r.Suite, root)...); err != nil {
		return err
	}
	for name, pattern := range map[string]string{"vmlinuz": "vmlinuz-*", "initrd.img": "initrd.img-*"} {
		found, err := filepath.Glob(filepath.Join(root, "boot", pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%d files match /boot/%s (%v), want 1", len(found), pattern, err)
		}
		if err := os.Rename(found[0], filepath.Join(out, name)); err != nil {
			return err
		}
	}
	return makeDisk(filepath.Join(out, "disk.img"), root, r.SizeMiB)
}

// makeDisk makes a sparse ext4 image that holds what is in dir. It has no
// journal: what a machine writes to it is thrown away.
func makeDisk(image, dir string, sizeMiB int) error {
	return runTool("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0",
		"-d", dir, image, fmt.Sprintf("%dM", sizeMiB))
}

// writeFiles writes the files below dir.
func writeFiles(dir string, files []file) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// runTool runs a command; what it said is in the error. Debian keeps some tools
// out of an ordinary user's PATH.
func runTool(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if cmd.Err != nil {
			cmd = exec.Command(filepath.Join(dir, name), args...)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w\n%s", name, err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	return nil
}

// needs tells which of the commands are not there.
func needs(commands ...string) error {
	missing := slices.DeleteFunc(commands, func(c string) bool {
		for _, name := range []string{c, "/usr/sbin/" + c, "/sbin/" + c} {
			if _, err := exec.LookPath(name); err == nil {
				return true
			}
		}
		return false
	})
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s (tests/vm/install-deps installs them)", strings.Join(missing, ", "))
	}
	return nil
}
