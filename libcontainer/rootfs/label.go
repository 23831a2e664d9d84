package rootfs

import (
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
	default:
		return label
	}
	return ""
}

// label gives a new filesystem the context of the container's mounts. Those of
// the kernel keep the labels that its policy has for each of their files, and
// a mount that names a context itself has that.
func (m *Mount) label(context string) {
	if context == "" || m.Kind != Filesystem {
		return
	}
	switch m.Type {
	case "proc", "sysfs", "cgroup2", "mqueue":
		return
	}
	if slices.ContainsFunc(m.Params, func(p Param) bool { return strings.HasSuffix(p.Key, "context") }) {
		return
	}
	m.Params = append(m.Params, Param{Key: "context", Value: context})
	m.Legacy = m.Legacy || len(context) > linux.MaxParam
}

// maskParams are those of the tmpfs that covers masked directories. The root
// directory is the one inode.
func maskParams(context string) []Param {
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

// maskAttrs are the attributes of that tmpfs.
const maskAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
