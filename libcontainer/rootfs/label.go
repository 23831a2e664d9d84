package rootfs

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// compileLabel takes linux.mountLabel, the SELinux context of the filesystems
// that are made for the container.
func compileLabel(l *specs.Linux, e *Env, d *defect.List) string {
	label := l.MountLabel
	switch {
	case label == "":
	case !e.SELinux:
		d.Add("linux.mountLabel", "%q cannot be applied: SELinux is not enabled on this host", label)
	case strings.ContainsAny(label, "\x00\""):
		d.Add("linux.mountLabel", "%q is not a context", label)
	case slices.Contains(e.UnknownLabels, label):
		d.Add("linux.mountLabel", "%q is no context of the SELinux policy that is loaded", label)
	default:
		return label
	}
	return ""
}

// label gives a new filesystem the context of the container's mounts. Those of
// the kernel keep the labels that its policy has for each of their files, and
// a mount that names a context itself has that. An mqueue is no new filesystem: it
// is the ipc namespace's, which the kernel has mounted already, without a context,
// and mounts with no other. So its root directory is labelled, which its files
// inherit; but not that of gourd's own ipc namespace (ownIPC is whether the
// container has another).
func (m *Mount) label(context string, ownIPC bool) {
	if context == "" || m.Kind != Filesystem {
		return
	}
	switch m.Type {
	case "proc", "sysfs", "cgroup2":
		return
	}
	if slices.ContainsFunc(m.Params, func(p Param) bool { return strings.HasSuffix(p.Key, "context") }) {
		return
	}
	if m.Type == "mqueue" {
		if ownIPC {
			m.RootLabel = context
		}
		return
	}
	m.Params = append(m.Params, Param{Key: "context", Value: context})
	m.Legacy = m.Legacy || len(context) > linux.MaxParam
}

// labelRoot gives the root directory of a filesystem that is not attached yet its
// context. Where the policy has one label for all of such a filesystem, the kernel
// takes no other (EOPNOTSUPP), and that stays.
func labelRoot(fd int, context string) error {
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("linux.mountLabel: open the root directory: %w", err)
	}
	defer unix.Close(dir)
	if err := unix.Fsetxattr(dir, "security.selinux", []byte(context), 0); err != nil && err != unix.EOPNOTSUPP {
		return fmt.Errorf("linux.mountLabel: label the root directory %q: %w", context, err)
	}
	return nil
}

// MaskParams are those of the tmpfs that covers masked directories. The root
// directory is the one inode.
func MaskParams(context string) []Param {
	params := []Param{
		{Key: "ro", Flag: true},
		{Key: "nr_blocks", Value: "1"},
		{Key: "nr_inodes", Value: "1"},
		{Key: "mode", Value: "755"},
	}
	if context != "" {
		params = append(params, Param{Key: "context", Value: context})
	}
	return params
}

// MaskAttrs are the attributes of that tmpfs.
const MaskAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
