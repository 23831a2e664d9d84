package rootfs

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestPivot(t *testing.T) {
	for _, noPivot := range []bool{false, true} {
		isolated(t, func(dir string) {
			write(t, dir+"/rootfs/marker", "inside")
			write(t, dir+"/outside", "outside")
			newMountNS(t)
			s := example(fsMounts()...)
			s.Process = &specs.Process{Cwd: "/not/yet/there"}
			pivoted(t, dir, s, func(p *Plan) { p.NoPivot = noPivot })
			if got := read(t, "/marker"); got != "inside" {
				t.Errorf("/marker holds %q", got)
			}
			if wd, err := os.Getwd(); wd != "/" {
				t.Errorf("the working directory is %s (%v)", wd, err)
			}
			for _, path := range []string{dir + "/outside", "/../outside", climb + "/etc/shadow"} {
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s can be seen (%v)", path, err)
				}
			}
			if st, err := os.Stat("/not/yet/there"); err != nil || st.Mode().Perm() != 0o755 {
				t.Errorf("process.cwd is %v (%v)", st, err)
			}
			info, err := os.ReadFile("/proc/thread-self/mountinfo")
			must(t, "read mountinfo", err)
			if got, want := strings.Count(string(info), "\n"), 1+len(fsMounts()); !noPivot && got != want {
				t.Errorf("%d mounts are left, want %d:\n%s", got, want, info)
			}
		})
	}
}

// TestNoPivotHidesProc: below the container's root, which covers the host's,
// no complete procfs or sysfs is left, by which the kernel would allow another.
func TestNoPivotHidesProc(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/other")
		must(t, "mount", unix.Mount("proc", dir+"/other", "proc", 0, ""))
		inHost := newMountNS(t)
		r := open(t, planFor(t, dir, example(fsMounts()...)))
		must(t, "Mount", r.Mount())
		host, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, "open", err)
		defer unix.Close(host)
		r.plan.NoPivot = true
		saved, err := unix.Dup(0)
		must(t, "dup", err)
		must(t, "Pivot", r.Pivot())
		unix.Dup3(saved, 0, 0)
		unix.Close(saved)
		must(t, "fchdir", unix.Fchdir(host))
		for _, path := range []string{"proc", "sys", dir[1:] + "/other"} {
			var fs unix.Statfs_t
			must(t, "statfs", unix.Statfs(path, &fs))
			if fs.Type == unix.PROC_SUPER_MAGIC || fs.Type == unix.SYSFS_MAGIC {
				t.Errorf("the host's /%s is there", path)
			}
		}
		inHost(func() {
			if !isMounted(t, "/proc") || !isMounted(t, dir+"/other") {
				t.Error("unmounted on the host, too")
			}
		})
	})
}

func TestPivotFromASharedMount(t *testing.T) {
	for _, tt := range []struct {
		propagation, root string
		leaks             bool // what is mounted inside a volume appears on the host
	}{
		{"", "", false},
		{"private", "", true},
		{"rprivate", "", false},
		{"slave", "master", true},
		{"rslave", "master", false},
		{"shared", "shared", true},
		{"rshared", "shared", true},
		{"unbindable", "unbindable", true},
		{"runbindable", "unbindable", false},
	} {
		t.Run(tt.propagation, func(t *testing.T) {
			isolated(t, func(dir string) {
				must(t, "share", unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""))
				mkdir(t, dir+"/vol/sub")
				must(t, "mount", unix.Mount("tmpfs", dir+"/vol", "tmpfs", 0, ""))
				mkdir(t, dir+"/vol/sub")
				inHost := newMountNS(t)
				s := example(
					specs.Mount{Type: "proc", Source: "proc", Destination: "/proc"},
					specs.Mount{Source: "vol", Destination: "/vol", Options: opts("bind")})
				if strings.HasSuffix(tt.propagation, "unbindable") {
					s.Mounts = s.Mounts[:1]
				}
				s.Linux.RootfsPropagation = tt.propagation
				s.Linux.ReadonlyPaths = []string{"/proc/sys", "/proc/fs"}
				s.Linux.MaskedPaths = []string{"/proc/irq", "/proc/bus"}
				must(t, "Finish", pivoted(t, dir, s).Finish())
				if got := propagation(t, "/"); got != tt.root {
					t.Errorf("/ is %q, want %q", got, tt.root)
				}
				if len(s.Mounts) == 2 {
					must(t, "mount", unix.Mount("tmpfs", "/vol/sub", "tmpfs", 0, ""))
				}
				inHost(func() {
					if len(s.Mounts) == 2 && isMounted(t, dir+"/vol/sub") != tt.leaks {
						t.Errorf("a mount inside a volume appears on the host: %v, want %v", !tt.leaks, tt.leaks)
					}
					if isMounted(t, dir+"/rootfs") || isMounted(t, dir+"/rootfs/proc") {
						t.Error("the container's mounts appear on the host")
					}
					if !isMounted(t, "/proc") || !isMounted(t, dir+"/vol") {
						t.Error("unmounted on the host, too")
					}
				})
			})
		})
	}
}

func TestPivotReopensNull(t *testing.T) {
	isolated(t, func(dir string) {
		saved, err := unix.Dup(0)
		must(t, "dup", err)
		defer func() { unix.Dup3(saved, 0, 0); unix.Close(saved) }()
		null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		must(t, "open", err)
		must(t, "dup", unix.Dup3(null, 0, 0))
		unix.Close(null)
		pivoted(t, dir, example(fsMounts()...))
		var own, in unix.Stat_t
		must(t, "stat", unix.Stat("/dev/null", &own))
		must(t, "fstat", unix.Fstat(0, &in))
		if own.Dev != in.Dev || own.Ino != in.Ino {
			t.Error("stdin is not the container's /dev/null")
		}
		if fl, err := unix.FcntlInt(0, unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK != 0 {
			t.Errorf("stdin has flags %#x (%v)", fl, err)
		}
	})
}

func TestFinish(t *testing.T) {
	isolated(t, func(dir string) {
		root := dir + "/rootfs"
		write(t, root+"/secret", "secret")
		write(t, root+"/dirs/a/x", "x")
		write(t, root+"/dirs/b/y", "y")
		write(t, root+"/keep/sub/z", "z")
		symlink(t, "secret", root+"/link")
		mkdir(t, dir+"/vol")
		s := example(append(fsMounts(),
			specs.Mount{Type: "tmpfs", Destination: "/rotmp", Options: opts("ro")},
			specs.Mount{Source: "vol", Destination: "/rotmp/made/late", Options: opts("bind")},
			specs.Mount{Source: "vol", Destination: "/vol", Options: opts("bind", "nosuid")},
			specs.Mount{Type: "tmpfs", Destination: "/keep/sub"})...)
		s.Mounts[1].Options = append(s.Mounts[1].Options, "ro") // /dev
		s.Root.Readonly = true
		s.Linux.MaskedPaths = opts("/link", "/dirs/a", "/dirs/b", "/proc/kcore", "/nonesuch", "/secret/below", "/proc/timer_list", "/sys/firmware")
		s.Linux.ReadonlyPaths = opts("/proc/sys", "/vol", "/keep", "/nonesuch")
		r := pivoted(t, dir, s)
		write(t, "/dev/still", "writable")
		write(t, "/still", "writable")
		must(t, "Finish", r.Finish())

		for _, path := range []string{"/x", "/rotmp/x", "/dev/x", "/vol/x", "/keep/x", "/proc/sys/kernel/domainname", "/dirs/a/x"} {
			if err := os.WriteFile(path, nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing %s gives %v, want a read-only filesystem", path, err)
			}
		}
		for _, path := range []string{"/rotmp/made/late/x", "/dev/shm/x", "/keep/sub/x", "/dev/null"} {
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Errorf("writing %s gives %v", path, err)
			}
		}
		if got := read(t, "/secret"); got != "" {
			t.Errorf("the masked file holds %q", got)
		}
		for _, path := range []string{"/dirs/a", "/dirs/b"} {
			if got := entries(t, path); len(got) > 0 {
				t.Errorf("%s holds %v", path, got)
			}
			wantOptions(t, path, "ro nosuid nodev noexec")
		}
		wantOptions(t, "/vol", "ro nosuid")
		wantOptions(t, "/proc/sys", "ro nosuid nodev noexec")
		if mountAt(t, "/dirs/a").VFSOptions != mountAt(t, "/dirs/b").VFSOptions || mountAt(t, "/dirs/a").Major != mountAt(t, "/dirs/b").Major || mountAt(t, "/dirs/a").Minor != mountAt(t, "/dirs/b").Minor {
			t.Error("masked directories do not share their tmpfs")
		}
	})
}

func TestConsole(t *testing.T) {
	isolated(t, func(dir string) {
		r := pivoted(t, dir, example(fsMounts()...))
		master, slave, err := r.Console(100, 30)
		must(t, "Console", err)
		defer master.Close()
		defer slave.Close()
		size, err := unix.IoctlGetWinsize(int(slave.Fd()), unix.TIOCGWINSZ)
		if err != nil || size.Col != 100 || size.Row != 30 {
			t.Errorf("the size is %+v (%v)", size, err)
		}
		var own, console, pts unix.Stat_t
		must(t, "fstat", unix.Fstat(int(slave.Fd()), &own))
		must(t, "stat", unix.Stat("/dev/console", &console))
		must(t, "stat", unix.Stat("/dev/pts/0", &pts))
		if own.Rdev != console.Rdev || own.Ino != console.Ino || own.Dev != console.Dev || own.Rdev != pts.Rdev {
			t.Error("/dev/console is not the terminal")
		}
		console2, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
		must(t, "open", err)
		defer console2.Close()
		if _, err := console2.WriteString("hello\n"); err != nil {
			t.Error(err)
		}
		if line, err := bufio.NewReader(master).ReadString('\n'); line != "hello\r\n" {
			t.Errorf("the master reads %q (%v)", line, err)
		}
		for _, f := range []*os.File{master, slave} {
			if fl, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s is not close-on-exec (%v)", f.Name(), err)
			}
		}
	})
}

// TestConsoleFaked: CVE-2025-52565.
func TestConsoleFaked(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		mounts     []specs.Mount
		spoil      func(t *testing.T)
	}{
		{"no devpts", "console: /dev/pts/ptmx: /dev/pts is not a devpts", nil, func(t *testing.T) {
			mkdir(t, "/dev/pts")
			must(t, "mknod", unix.Mknod("/dev/pts/ptmx", unix.S_IFIFO|0o600, 0))
		}},
		{"no /dev/pts", "console: /dev/pts/ptmx: no such file", nil, func(*testing.T) {}},
		{"a symlink to another", "console: /dev/pts/ptmx: too many levels", fsMounts(), func(t *testing.T) {
			must(t, "unmount", unix.Unmount("/dev/pts", 0))
			must(t, "remove", os.Remove("/dev/pts"))
			mkdir(t, "/other")
			must(t, "mount", unix.Mount("devpts", "/other", "devpts", 0, ""))
			symlink(t, "/other", "/dev/pts")
		}},
		{"ptmx mounted over", "console: /dev/pts/ptmx: something is mounted over it", fsMounts(), func(t *testing.T) {
			must(t, "mount", unix.Mount("/dev/null", "/dev/pts/ptmx", "", unix.MS_BIND, ""))
		}},
		{"console a symlink", "console: /dev/console: mountpoint console: is a symlink", fsMounts(), func(t *testing.T) {
			symlink(t, "/victim", "/dev/console")
			write(t, "/victim", "")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolated(t, func(dir string) {
				r := pivoted(t, dir, example(tt.mounts...))
				tt.spoil(t)
				master, slave, err := r.Console(0, 0)
				if err == nil || master != nil || slave != nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("Console is %v, %v, %v; want the error %q", master, slave, err, tt.want)
				}
			})
		})
	}
}

// TestSysctl: CVE-2025-52881. The values are written, and not to what the image
// has in /proc.
func TestSysctl(t *testing.T) {
	isolated(t, func(dir string) {
		write(t, dir+"/rootfs/proc/sys/kernel/shmmni", "fake")
		s := example()
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace}, specs.LinuxNamespace{Type: specs.IPCNamespace})
		s.Linux.Sysctl = map[string]string{"kernel.shmmni": "1234", "net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/forwarding": "0"}
		r := pivoted(t, dir, s)
		must(t, "WriteSysctls", r.WriteSysctls())
		if got := read(t, "/proc/sys/kernel/shmmni"); got != "fake" {
			t.Errorf("the image's file holds %q", got)
		}
		must(t, "mount", unix.Mount("proc", "/proc", "proc", 0, ""))
		for file, want := range map[string]string{"kernel/shmmni": "1234\n", "net/ipv4/ip_forward": "1\n", "net/ipv4/conf/lo/forwarding": "0\n"} {
			if got := read(t, "/proc/sys/"+file); got != want {
				t.Errorf("%s is %q, want %q", file, got, want)
			}
		}
		for name, want := range map[string]string{"net.ipv4.nonesuch": "this kernel has no /proc/sys/net/ipv4/nonesuch", "net.ipv4.ip_forward": `write "x" to /proc/sys/net/ipv4/ip_forward: invalid argument`} {
			file, _ := sysctlFile(name)
			err := r.writeSysctl(&Sysctl{Name: name, File: "sys/" + file, Value: "x"})
			if err == nil || !strings.HasPrefix(err.Error(), "linux.sysctl."+name+": "+want) {
				t.Errorf("%s gives %v, want %q", name, err, want)
			}
		}
	})
}
