// files.go: what a container has in its run directory: its /etc/hosts, hostname
// and resolv.conf, and its /dev/shm.

package prepare

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/store"
)

// containerFiles are the files below /etc that are made for a container, with
// what each holds.
func containerFiles(c *store.Container, hostResolv string) map[string]string {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if c.Address != "" {
		hosts += c.Address + "\t" + hostsNames(c) + "\n"
	} else if c.Hostname != "" {
		hosts += "127.0.1.1\t" + hostsNames(c) + "\n"
	}
	for _, h := range c.Hosts {
		hosts += h + "\n"
	}
	resolv := hostResolv
	if len(c.DNS) > 0 {
		resolv = ""
		for _, d := range c.DNS {
			resolv += "nameserver " + d + "\n"
		}
	}
	return map[string]string{"hosts": hosts, "hostname": c.Hostname + "\n", "resolv.conf": resolv}
}

// hostsNames are the names of the container in its own hosts file.
func hostsNames(c *store.Container) string {
	if c.Hostname == "" || c.Hostname == c.Name {
		return c.Name
	}
	return c.Hostname + " " + c.Name
}

// hostResolv is the host's resolv.conf; that of a stub resolver on loopback,
// which no other network namespace can reach, is replaced by what the stub asks.
func hostResolv() (string, error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if strings.Contains(string(data), "nameserver 127.0.0.53") {
		if real, err := os.ReadFile("/run/systemd/resolve/resolv.conf"); err == nil {
			return string(real), nil
		}
	}
	return string(data), nil
}

// refreshRun makes the run directory of a container, as at its first mount and
// after a reboot.
func (p *Preparer) refreshRun(c *store.Container) error {
	if err := p.writeFiles(c); err != nil {
		return err
	}
	if c.ShmSize > 0 {
		uid, gid := mappedRoot(c)
		return p.mountShm(c, uid, gid)
	}
	return nil
}

// writeFiles writes what is bound below the container's /etc.
func (p *Preparer) writeFiles(c *store.Container) error {
	dir := p.Store.RunDir(c.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if len(c.Files) == 0 {
		return nil
	}
	resolv, err := hostResolv()
	if err != nil {
		return err
	}
	uid, gid := mappedRoot(c)
	all := containerFiles(c, resolv)
	for _, name := range c.Files {
		at := dir + "/" + name
		if err := store.WriteFile(at, []byte(all[name]), 0o644); err != nil {
			return fmt.Errorf("write the container's /etc/%s: %w", name, err)
		}
		if err := os.Chown(at, uid, gid); err != nil {
			return err
		}
		if c.MountLabel != "" {
			if err := unix.Lsetxattr(at, "security.selinux", []byte(c.MountLabel), 0); err != nil {
				return &os.PathError{Op: "label", Path: at, Err: err}
			}
		}
	}
	return nil
}

// mountShm mounts the container's /dev/shm.
func (p *Preparer) mountShm(c *store.Container, uid, gid int) error {
	at := p.shm(c)
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	params := []linux.Param{
		{Key: "size", Value: fmt.Sprint(c.ShmSize)}, {Key: "mode", Value: "1777"},
		{Key: "uid", Value: fmt.Sprint(uid)}, {Key: "gid", Value: fmt.Sprint(gid)},
	}
	if c.MountLabel != "" {
		params = append(params, linux.Param{Key: "context", Value: c.MountLabel})
	}
	mnt, err := linux.NewFilesystem("tmpfs", "shm", params, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("mount the container's /dev/shm: %w", err)
	}
	defer unix.Close(mnt)
	dir, err := openPath(at)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := linux.Attach(mnt, int(dir.Fd())); err != nil {
		return fmt.Errorf("mount the container's /dev/shm: %w", err)
	}
	return nil
}
