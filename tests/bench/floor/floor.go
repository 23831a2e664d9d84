// Package floor is what no runtime can be faster than: the kernel's own work for
// a container, with no runtime around it. One process is cloned into its
// namespaces and its cgroup, makes the mounts, devices and masks, changes its
// root, loads the filter and executes the program, by a table of system calls
// which was worked out beforehand; then the cgroup is removed.
//
// What is in it besides is one start of a small Go program, and one execve of
// the raw child's stub (see nsenter): a runtime in pure Go has both.
//
// It trusts its rootfs, looks names up twice, sets no credentials and tells
// nobody: it is a measure, no runtime.
package floor

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

// Plan is all that the floor does. It is plain data, for protocol.Marshal.
type Plan struct {
	Parent     string // directory of the cgroup that the container's is made in
	Namespaces uint64 // CLONE_NEW… of those to make
	Rootfs     string // absolute
	Hostname   string
	Mounts     []Mount
	Nodes      []Node
	Links      []Link
	Sysctls    []Sysctl
	Readonly   []string
	Masked     []Mask
	Filter     []seccomp.Instruction
	FilterFlag uint32
	Args, Env  []string
}

// Mount is one mount(2), or two for a bind mount with flags. Target is absolute
// in the container; if Dir is set it is made first.
type Mount struct {
	Source, Target, Type, Data string
	Flags, Again, Propagation  uint64
	Dir                        bool
}

// Node is a device node.
type Node struct {
	Path string
	Mode uint32
	Dev  uint64
}

// Link is a symlink.
type Link struct{ Path, Target string }

// Sysctl is a value for a file below /proc/sys.
type Sysctl struct{ Path, Value string }

// Mask is a path to be covered.
type Mask struct {
	Path string
	Dir  bool
}

// Run makes the container in the cgroup id below p.Parent, waits for its end,
// removes the cgroup, and returns how the program ended.
func Run(p *Plan, id string) (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	cgroup := p.Parent + "/" + id
	if err := unix.Mkdir(cgroup, 0o755); err != nil {
		return ws, fmt.Errorf("mkdir %s: %w", cgroup, err)
	}
	defer unix.Rmdir(cgroup)
	fd, err := unix.Open(cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ws, fmt.Errorf("open %s: %w", cgroup, err)
	}
	defer unix.Close(fd)
	child, err := nsenter.Start(nsenter.Request{
		New:      uintptr(p.Namespaces),
		CgroupFD: fd,
		Stdio:    [3]int{-1, -1, -1},
		Finish:   p.append,
		Ready:    func(*nsenter.Child) error { return nil },
	})
	if err != nil {
		return ws, err
	}
	defer child.PIDFD.Close()
	for {
		_, err := unix.Wait4(child.PID, &ws, unix.WALL, nil)
		if err != unix.EINTR {
			return ws, err
		}
	}
}

func num(n int) nsenter.Arg { return nsenter.Num(n) }

// append appends the steps from the new namespaces to the execve.
func (p *Plan) append(t *nsenter.Tail) {
	t.Call("make a session", unix.SYS_SETSID)
	t.Call("set the umask", unix.SYS_UMASK, num(0))
	mount(t, "", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	mount(t, p.Rootfs, p.Rootfs, "", unix.MS_BIND|unix.MS_REC, "")
	for i := range p.Mounts {
		m := &p.Mounts[i]
		at := p.Rootfs + m.Target
		if m.Dir {
			t.Call("make "+m.Target, unix.SYS_MKDIRAT, num(unix.AT_FDCWD), t.String(at), num(0o755)).Allow = nsenter.Errnos(unix.EEXIST)
		}
		mount(t, m.Source, at, m.Type, m.Flags, m.Data)
		if m.Again != 0 {
			mount(t, "", at, "", m.Again, "")
		}
		if m.Propagation != 0 {
			mount(t, "", at, "", m.Propagation, "")
		}
	}
	for _, n := range p.Nodes {
		t.Call("make "+n.Path, unix.SYS_MKNODAT, num(unix.AT_FDCWD), t.String(p.Rootfs+n.Path), num(int(n.Mode)), num(int(n.Dev))).Allow =
			nsenter.Errnos(unix.EEXIST)
	}
	for _, l := range p.Links {
		t.Call("make "+l.Path, unix.SYS_SYMLINKAT, t.String(l.Target), num(unix.AT_FDCWD), t.String(p.Rootfs+l.Path)).Allow =
			nsenter.Errnos(unix.EEXIST)
	}
	if p.Namespaces&unix.CLONE_NEWNET != 0 {
		loopback(t)
	}
	t.Call("enter the rootfs", unix.SYS_CHDIR, t.String(p.Rootfs))
	t.Call("change the root", unix.SYS_PIVOT_ROOT, t.String("."), t.String("."))
	t.Call("leave the old root", unix.SYS_UMOUNT2, t.String("."), num(unix.MNT_DETACH))
	t.Call("enter the new root", unix.SYS_CHDIR, t.String("/"))
	if p.Hostname != "" {
		t.Call("set the hostname", unix.SYS_SETHOSTNAME, t.Bytes(p.Hostname), num(len(p.Hostname)))
	}
	for _, s := range p.Sysctls {
		fd := t.Cell()
		t.Call("open "+s.Path, unix.SYS_OPENAT, num(unix.AT_FDCWD), t.String(s.Path), num(unix.O_WRONLY|unix.O_CLOEXEC)).Save = fd
		t.Call("write "+s.Path, unix.SYS_WRITE, fd.Value(), t.Bytes(s.Value), num(len(s.Value)))
		t.Call("close "+s.Path, unix.SYS_CLOSE, fd.Value())
	}
	const hard = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY
	for _, path := range p.Readonly {
		mount(t, path, path, "", unix.MS_BIND|unix.MS_REC, "")
		mount(t, "", path, "", unix.MS_BIND|unix.MS_REMOUNT|hard, "")
	}
	for _, m := range p.Masked {
		if m.Dir {
			mount(t, "tmpfs", m.Path, "tmpfs", hard, "")
		} else {
			mount(t, "/dev/null", m.Path, "", unix.MS_BIND, "")
		}
	}
	t.RestoreNofile()
	argv, envp := t.Strings(p.Args), t.Strings(p.Env)
	var filter nsenter.Arg
	if len(p.Filter) > 0 {
		var code []byte
		for _, in := range p.Filter {
			code = binary.NativeEndian.AppendUint16(code, in.Code)
			code = append(code, in.Jt, in.Jf)
			code = binary.NativeEndian.AppendUint32(code, in.K)
		}
		filter = t.Words(uint64(len(p.Filter)), 0) // struct sock_fprog
		t.Point(filter, 1, t.Bytes(string(code)))
	}
	t.RestoreMask()
	if len(p.Filter) > 0 {
		t.Call("load the filter", unix.SYS_SECCOMP, num(unix.SECCOMP_SET_MODE_FILTER), num(int(p.FilterFlag)), filter)
	}
	t.Call("execute "+p.Args[0], unix.SYS_EXECVE, t.String(p.Args[0]), argv, envp)
}

func mount(t *nsenter.Tail, source, target, kind string, flags uint64, data string) {
	text := func(s string) nsenter.Arg {
		if s == "" {
			return num(0)
		}
		return t.String(s)
	}
	t.Call("mount "+target, unix.SYS_MOUNT, text(source), text(target), text(kind), num(int(flags)), text(data))
}

// loopback appends what sets lo up (netdevice(7)).
func loopback(t *nsenter.Tail) {
	var ifreq [40]byte
	copy(ifreq[:], "lo")
	binary.NativeEndian.PutUint16(ifreq[unix.IFNAMSIZ:], unix.IFF_UP)
	fd := t.Cell()
	t.Call("open a socket", unix.SYS_SOCKET, num(unix.AF_INET), num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), num(0)).Save = fd
	t.Call("set lo up", unix.SYS_IOCTL, fd.Value(), num(unix.SIOCSIFFLAGS), t.Bytes(string(ifreq[:])))
	t.Call("close the socket", unix.SYS_CLOSE, fd.Value())
}
