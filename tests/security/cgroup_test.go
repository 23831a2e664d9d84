package security

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// writableCgroups: a rootless container without a cgroup namespace could write
// to all cgroups of its user. Rootless is who runs the runtime as that user, and
// who runs it as root of a user namespace, as rootless engines do.
func writableCgroups(l *lab) {
	const uid = 1000
	// What a user's manager would have: cgroups that are the user's.
	const delegated = "/sys/fs/cgroup/user"
	for _, dir := range []string{delegated, delegated + "/session", delegated + "/other"} {
		l.must(os.Mkdir(dir, 0o755))
		defer os.Remove(dir)
		l.must(os.Chown(dir, uid, uid))
		for _, f := range []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
			l.must(os.Chown(dir+"/"+f, uid, uid))
		}
	}
	session, err := os.Open(delegated + "/session")
	l.must(err)
	defer session.Close()
	for _, dir := range []string{l.state, scratch} {
		l.must(os.Chown(dir, uid, uid))
	}
	user := caller{attr: &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uid, Gid: uid},
		UseCgroupFD: true, CgroupFD: int(session.Fd()),
	}}
	alone := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65535}}
	inside := caller{attr: &syscall.SysProcAttr{
		Credential:  &syscall.Credential{},
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: alone, GidMappings: alone, GidMappingsEnableSetgroups: true,
		UseCgroupFD: true, CgroupFD: int(session.Fd()),
	}}
	for _, way := range []string{"cgroup", "cgroup rw", "rbind", "rbind alone", "cgroup inside", "cgroup rw inside", "rbind inside", "rbind alone inside"} {
		by := user
		way, isInside := strings.CutSuffix(way, " inside")
		if isInside {
			by = inside
		}
		b := l.bundle(fmt.Sprintf("%s-%v", strings.ReplaceAll(way, " ", "-"), isInside), "cgroups")
		l.must(os.Chown(b.dir, uid, uid))
		l.must(filepath.WalkDir(b.root, func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Base(path) == "self" {
				return err
			}
			return os.Chown(path, uid, uid)
		}))
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uid, Size: 1}}
		b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = ids, ids
		b.spec.Linux.Resources = nil
		b.spec.Linux.Namespaces = []specs.LinuxNamespace{
			{Type: specs.UserNamespace}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		}
		if isInside {
			b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = nil, nil
			b.spec.Linux.Namespaces = b.spec.Linux.Namespaces[1:]
		}
		b.without("/sys", "/dev/pts") // gid 5 is not mapped
		own, writable := strings.CutSuffix(way, " rw")
		if own != "cgroup" {
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}})
		} else {
			l.must(os.MkdirAll(b.root+"/sys/fs/cgroup", 0o755))
		}
		if way != "rbind alone" {
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
			if writable {
				o := b.spec.Mounts[len(b.spec.Mounts)-1].Options
				o[len(o)-1] = "rw"
			}
		}
		r := b.runBy(by)
		made := strings.Contains(r.out, "made ") || strings.Contains(r.out, "opened ")
		for _, dir := range []string{delegated, delegated + "/session", delegated + "/other"} {
			if err := os.Remove(dir + "/escape"); err == nil {
				l.Errorf("%s (inside: %v): made in the host's %s", way, isInside, dir)
			}
		}
		if made {
			l.Errorf("%s (inside: %v): cgroups can be written to:\n%s", way, isInside, r.out)
		}
		if !strings.HasPrefix(r.out, "ran\n") {
			l.Errorf("%s (inside: %v): the container did not run:\n%s", way, isInside, fmt.Sprint(r.err))
		}
	}
}
