package rootfs

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestMountFilesystems(t *testing.T) {
	isolated(t, func(dir string) {
		mounted(t, dir, example(fsMounts()...))
		root := dir + "/rootfs"
		for path, want := range map[string]string{
			"/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue", "/sys": "sysfs", "/sys/fs/cgroup": "cgroup2",
		} {
			if got := mountAt(t, root+path).FSType; got != want {
				t.Errorf("%s is a %s, want %s", path, got, want)
			}
		}
		wantOptions(t, root+"/proc", "rw nosuid nodev noexec relatime")
		wantOptions(t, root+"/dev", "rw nosuid !nodev !relatime !noatime")
		wantOptions(t, root+"/sys", "ro nosuid nodev noexec")
		wantOptions(t, root+"/sys/fs/cgroup", "ro nosuid nodev noexec relatime")
		if m := mountAt(t, root+"/dev"); !strings.Contains(m.VFSOptions, "size=65536k") || !strings.Contains(m.VFSOptions, "mode=755") || m.Source != "tmpfs" {
			t.Errorf("/dev is %s %s", m.Source, m.VFSOptions)
		}
		if m := mountAt(t, root+"/dev/pts"); !strings.Contains(m.VFSOptions, "gid=5,mode=620,ptmxmode=666") {
			t.Errorf("/dev/pts is %s", m.VFSOptions)
		}
		if strings.Contains(mountAt(t, root+"/sys").VFSOptions, "ro") {
			t.Error("the sysfs itself is read-only, not only its mount")
		}
	})
}

func TestMountBinds(t *testing.T) {
	isolated(t, func(dir string) {
		write(t, dir+"/src/f", "file")
		write(t, dir+"/src/sub/g", "nested")
		must(t, "mount", unix.Mount("tmpfs", dir+"/src/sub", "tmpfs", 0, ""))
		write(t, dir+"/src/sub/h", "below")
		symlink(t, "src/f", dir+"/link")
		l, err := net.Listen("unix", dir+"/sock")
		must(t, "listen", err)
		defer l.Close()
		mkdir(t, dir+"/rootfs/real")
		symlink(t, "/real", dir+"/rootfs/alias")

		bind := opts("bind")
		mounted(t, dir, example(
			specs.Mount{Source: "src", Destination: "/new/dir", Options: bind},
			specs.Mount{Source: "src", Destination: "/rec", Options: opts("rbind")},
			specs.Mount{Source: dir + "/src/f", Destination: "/etc/file", Options: bind},
			specs.Mount{Source: "link", Destination: "/fromlink", Options: bind},
			specs.Mount{Source: "sock", Destination: "/run/sock", Options: bind},
			specs.Mount{Source: "src", Destination: "/alias", Options: bind},
			specs.Mount{Source: "src/f", Destination: "/alias/sub/g", Options: bind},
		))
		root := dir + "/rootfs"
		for path, want := range map[string]string{
			"/new/dir/f": "file", "/new/dir/sub/g": "nested", "/rec/sub/h": "below", "/etc/file": "file", "/fromlink": "file", "/real/f": "file", "/real/sub/g": "file",
		} {
			if got := read(t, root+path); got != want {
				t.Errorf("%s is %q, want %q", path, got, want)
			}
		}
		if isMounted(t, root+"/new/dir/sub") {
			t.Error("bind mounted what is below the source, too")
		}
		c, err := net.Dial("unix", root+"/run/sock")
		must(t, "dial", err)
		c.Close()
		if st, err := os.Stat(root + "/new"); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("the made directory is %v, %v", st, err)
		}
	})
}

func TestMountBindKeepsAndChangesFlags(t *testing.T) {
	for _, tt := range []struct{ name, options, top, below string }{
		{"no options", "", "nosuid nodev noatime rw !noexec", "rw relatime !nosuid"},
		{"set", "ro noexec", "ro noexec !nosuid !nodev noatime", "rw !noexec"},
		{"clear", "suid", "!nosuid !nodev noatime", "rw"},
		{"atime", "atime", "relatime !noatime !nosuid", "relatime"},
		{"strictatime", "strictatime", "!relatime !noatime", "relatime"},
		{"relatime", "relatime nodiratime", "relatime nodiratime !noatime", "relatime !nodiratime"},
		{"symfollow", "nosymfollow", "nosymfollow", "!nosymfollow"},
		{"rro", "rro", "ro nosuid", "ro !nosuid"},
		{"rro but the top", "rro rnosuid rnodev rnoexec rnoatime rnosymfollow rnodiratime", "ro nosuid nodev noexec noatime nosymfollow nodiratime", "ro nosuid nodev noexec noatime nosymfollow nodiratime"},
		{"back", "ro rrw rsuid rdev rexec rstrictatime", "rw !nosuid !nodev !relatime !noatime", "rw !relatime"},
		{"rrelatime", "rrelatime", "relatime !noatime", "relatime"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolated(t, func(dir string) {
				mkdir(t, dir+"/src")
				must(t, "mount", unix.Mount("tmpfs", dir+"/src", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, ""))
				mkdir(t, dir+"/src/sub")
				must(t, "mount", unix.Mount("tmpfs", dir+"/src/sub", "tmpfs", 0, ""))
				mounted(t, dir, example(specs.Mount{Source: "src", Destination: "/m", Options: append(opts("rbind"), strings.Fields(tt.options)...)}))
				wantOptions(t, dir+"/rootfs/m", tt.top)
				wantOptions(t, dir+"/rootfs/m/sub", tt.below)
				wantOptions(t, dir+"/src", "rw nosuid nodev noatime !noexec") // untouched
			})
		})
	}
}

func TestMountPropagation(t *testing.T) {
	for _, tt := range []struct{ option, top, below string }{
		{"", "master", "master"}, // the host's mounts still come in
		{"private", "", "master"},
		{"rprivate", "", ""},
		{"slave", "master", "master"},
		{"shared", "shared master", "master"},
		{"rshared", "shared master", "shared master"},
		{"unbindable", "unbindable", "master"},
		{"runbindable", "unbindable", "unbindable"},
	} {
		t.Run(tt.option, func(t *testing.T) {
			isolated(t, func(dir string) {
				mkdir(t, dir+"/src")
				must(t, "mount", unix.Mount("tmpfs", dir+"/src", "tmpfs", 0, ""))
				mkdir(t, dir+"/src/sub")
				must(t, "mount", unix.Mount("tmpfs", dir+"/src/sub", "tmpfs", 0, ""))
				must(t, "share", unix.Mount("", dir+"/src", "", unix.MS_SHARED|unix.MS_REC, ""))
				newMountNS(t)
				mounted(t, dir, example(specs.Mount{Source: "src", Destination: "/m", Options: append(opts("rbind"), strings.Fields(tt.option)...)}))
				for path, want := range map[string]string{"/rootfs/m": tt.top, "/rootfs/m/sub": tt.below} {
					if got := propagation(t, dir+path); got != want {
						t.Errorf("%s is %q, want %q", path, got, want)
					}
				}
			})
		})
	}
}

// propagation returns the types of the mount at path, without the numbers of
// their groups.
func propagation(t *testing.T, path string) string {
	var kinds []string
	for _, f := range strings.Fields(mountAt(t, path).Optional) {
		kind, _, _ := strings.Cut(f, ":")
		kinds = append(kinds, kind)
	}
	return strings.Join(kinds, " ")
}

func TestMountTmpfsMode(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/rootfs/private")
		must(t, "chmod", os.Chmod(dir+"/rootfs/private", 0o710|os.ModeSticky))
		mounted(t, dir, example(
			specs.Mount{Type: "tmpfs", Destination: "/private"},
			specs.Mount{Type: "tmpfs", Destination: "/private/mine", Options: opts("mode=700")},
			specs.Mount{Type: "tmpfs", Destination: "/new"},
		))
		for path, want := range map[string]os.FileMode{"/private": 0o710 | os.ModeSticky, "/private/mine": 0o700, "/new": 0o777 | os.ModeSticky} {
			st, err := os.Stat(dir + "/rootfs" + path)
			must(t, "stat", err)
			if got := st.Mode() & (os.ModePerm | os.ModeSticky); got != want {
				t.Errorf("%s has mode %v, want %v", path, got, want)
			}
		}
	})
}

func TestMountCopyUp(t *testing.T) {
	isolated(t, func(dir string) {
		src := dir + "/rootfs/data"
		write(t, src+"/d/f", "text")
		must(t, "chown", os.Chown(src+"/d/f", 12, 34))
		must(t, "chmod", os.Chmod(src+"/d/f", 0o640|os.ModeSetgid))
		must(t, "chmod", os.Chmod(src+"/d", 0o1770|os.ModeSticky))
		symlink(t, "/etc/passwd", src+"/link")
		must(t, "mknod", unix.Mknod(src+"/fifo", unix.S_IFIFO|0o600, 0))
		must(t, "mknod", unix.Mknod(src+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, "mknod", unix.Mknod(src+"/sock", unix.S_IFSOCK|0o600, 0))
		cwd, err := os.Getwd()
		must(t, "getwd", err)

		mounted(t, dir, example(specs.Mount{Type: "tmpfs", Destination: "/data", Options: opts("tmpcopyup", "ro")}))
		if m := mountAt(t, src); m.FSType != "tmpfs" {
			t.Errorf("/data is a %s", m.FSType)
		}
		if got := read(t, src+"/d/f"); got != "text" {
			t.Errorf("the copy holds %q", got)
		}
		var st unix.Stat_t
		must(t, "stat", unix.Stat(src+"/d/f", &st))
		if st.Uid != 12 || st.Gid != 34 || st.Mode != unix.S_IFREG|0o2640 {
			t.Errorf("the copy is of %d:%d, mode %o", st.Uid, st.Gid, st.Mode)
		}
		must(t, "stat", unix.Stat(src+"/d", &st))
		if st.Mode != unix.S_IFDIR|0o1770 {
			t.Errorf("the directory's copy has mode %o", st.Mode)
		}
		if target, err := os.Readlink(src + "/link"); target != "/etc/passwd" {
			t.Errorf("the link's copy is %q, %v", target, err)
		}
		if got := entries(t, src); !slices.Equal(got, opts("d", "fifo", "link", "null", "sock")) {
			t.Errorf("copied are %v", got)
		}
		must(t, "stat", unix.Stat(src+"/null", &st))
		if !isNull(&st) {
			t.Errorf("the device's copy is %s", nodeName(st.Mode, uint64(st.Rdev)))
		}
		if now, err := os.Getwd(); now != cwd {
			t.Errorf("the working directory is %s (%v), was %s", now, err, cwd)
		}
		must(t, "unmount", unix.Unmount(src, unix.MNT_DETACH))
		if got := read(t, src+"/d/f"); got != "text" {
			t.Errorf("the original holds %q", got)
		}
	})
}

func TestMountOverlayAndLegacy(t *testing.T) {
	isolated(t, func(dir string) {
		var lower []string
		for _, name := range []string{"a", "b"} {
			path := filepath.Join(dir, strings.Repeat(name, 200))
			write(t, path+"/"+name, name)
			lower = append(lower, path)
		}
		mkdir(t, dir+"/x")
		mkdir(t, dir+"/y")
		mkdir(t, dir+"/upper")
		mkdir(t, dir+"/work")
		upper := "upperdir=" + dir + "/upper,workdir=" + dir + "/work"
		mounted(t, dir, example(
			specs.Mount{Type: "overlay", Source: "overlay", Destination: "/short", Options: opts("lowerdir="+dir+"/x:"+dir+"/y", "ro")},
			specs.Mount{Type: "overlay", Source: "overlay", Destination: "/long", Options: opts("lowerdir="+strings.Join(lower, ":"), upper, "nosuid", "noatime")},
			specs.Mount{Type: "tmpfs", Source: "t", Destination: "/silent", Options: opts("silent", "iversion", "ro", "size=1m", "lazytime", "nodev", "rshared")},
		))
		root := dir + "/rootfs"
		wantOptions(t, root+"/short", "ro")
		wantOptions(t, root+"/long", "rw nosuid noatime !nodev")
		if got := read(t, root+"/long/a") + read(t, root+"/long/b"); got != "ab" {
			t.Errorf("the long overlay holds %q", got)
		}
		write(t, root+"/long/new", "x")
		if !slices.Contains(entries(t, dir+"/upper"), "new") {
			t.Error("the overlay does not write to its upper directory")
		}
		m := mountAt(t, root+"/silent")
		if m.Source != "t" || !strings.Contains(m.VFSOptions, "size=1024k") || !strings.Contains(m.VFSOptions, "lazytime") || propagation(t, root+"/silent") != "shared" {
			t.Errorf("/silent is %+v", m)
		}
		wantOptions(t, root+"/silent", "nodev relatime rw") // read-only only at the end
		if isMounted(t, root) && mountAt(t, root).FSType == "tmpfs" && mountAt(t, root).Source == "gourd" {
			t.Error("the scratch mount is still there")
		}
	})
}

func TestMountRemount(t *testing.T) {
	isolated(t, func(dir string) {
		mounted(t, dir, example(
			specs.Mount{Type: "tmpfs", Source: "t", Destination: "/t", Options: opts("size=1m", "nosuid")},
			specs.Mount{Destination: "/t", Options: opts("remount", "size=2m", "ro", "noexec")},
			specs.Mount{Type: "tmpfs", Source: "t", Destination: "/b"},
			specs.Mount{Destination: "/b", Options: opts("bind", "remount", "ro", "rshared")},
		))
		wantOptions(t, dir+"/rootfs/t", "ro nosuid noexec")
		if m := mountAt(t, dir+"/rootfs/t"); !strings.Contains(m.VFSOptions, "size=2048k") || !strings.HasPrefix(m.VFSOptions, "ro") {
			t.Errorf("/t is %s", m.VFSOptions)
		}
		wantOptions(t, dir+"/rootfs/b", "ro")
		if m := mountAt(t, dir+"/rootfs/b"); !strings.HasPrefix(m.VFSOptions, "rw") || propagation(t, dir+"/rootfs/b") != "shared" {
			t.Errorf("/b is %+v", m)
		}
	})
}

func TestMountCgroupBind(t *testing.T) {
	isolated(t, func(dir string) {
		write(t, dir+"/cgroup/cgroup.procs", "own")
		s := example(specs.Mount{Type: "cgroup2", Source: "cgroup", Destination: "/sys/fs/cgroup", Options: opts("ro", "nosuid")})
		p := compile(t, s, Env{Bundle: dir, HostUserNS: true, CgroupDir: dir + "/cgroup"})
		must(t, "Mount", open(t, &p).Mount())
		if got := read(t, dir+"/rootfs/sys/fs/cgroup/cgroup.procs"); got != "own" {
			t.Errorf("the cgroup is %q", got)
		}
		wantOptions(t, dir+"/rootfs/sys/fs/cgroup", "ro nosuid")
	})
}

func TestMountErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		m     specs.Mount
		errno error
		want  string
	}{
		{"missing source", specs.Mount{Source: "/nonesuch/hosts", Destination: "/etc/hosts", Options: opts("bind")}, unix.ENOENT,
			"mounts[0] (/etc/hosts): open source /nonesuch/hosts: no such file or directory"},
		{"file on directory", specs.Mount{Source: "f", Destination: "/dir", Options: opts("bind")}, unix.ENOTDIR,
			"mounts[0] (/dir): the source BUNDLE/f is a file and the destination a directory: not a directory"},
		{"directory on file", specs.Mount{Type: "tmpfs", Destination: "/file"}, unix.ENOTDIR,
			"mounts[0] (/file): the source is a directory and the destination a file: not a directory"},
		{"below a file", specs.Mount{Type: "tmpfs", Destination: "/file/x"}, unix.ENOTDIR,
			"mounts[0] (/file/x): destination: not a directory"},
		{"unknown type", specs.Mount{Type: "nonesuch", Destination: "/dir"}, unix.ENODEV,
			`mounts[0] (/dir): filesystem type "nonesuch" is not known to this kernel: no such device`},
		{"unknown parameter", specs.Mount{Type: "tmpfs", Destination: "/dir", Options: opts("colour=blue")}, unix.EINVAL,
			"mounts[0] (/dir): fsconfig colour=blue: invalid argument (tmpfs: Unknown parameter 'colour')"},
		{"bad parameter", specs.Mount{Type: "tmpfs", Destination: "/dir", Options: opts("size=much")}, unix.EINVAL,
			"mounts[0] (/dir): fsconfig size=much: invalid argument (tmpfs: Bad value for 'size')"},
		{"unbindable source", specs.Mount{Source: "unbindable", Destination: "/dir", Options: opts("bind")}, unix.EINVAL, "unbindable mount?"},
		{"nothing to remount", specs.Mount{Destination: "/dir", Options: opts("remount", "ro")}, unix.EINVAL, "is anything mounted there?"},
		{"no file to remount", specs.Mount{Destination: "/nonesuch", Options: opts("remount", "ro")}, unix.ENOENT, "destination: no such file"},
		{"a bound /proc that is none", specs.Mount{Source: "dir", Destination: "/proc", Options: opts("bind")}, nil, "only a procfs can be mounted on /proc"},
		{"a bound /sys that is none", specs.Mount{Source: "dir", Destination: "/sys", Options: opts("bind")}, nil, "only a sysfs can be mounted on /sys"},
		{"a bound /proc that is a part of one", specs.Mount{Source: "/proc/tty", Destination: "/proc", Options: opts("bind")}, nil, "only a procfs can be mounted on /proc"},
		{"a link to nowhere and up", specs.Mount{Type: "tmpfs", Destination: "/updown"}, unix.ENOENT, "goes up from a directory that does not exist"},
		{"a link to itself", specs.Mount{Type: "tmpfs", Destination: "/loop"}, unix.ELOOP, "too many levels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolated(t, func(dir string) {
				write(t, dir+"/f", "")
				mkdir(t, dir+"/dir")
				mkdir(t, dir+"/unbindable")
				must(t, "mount", unix.Mount("t", dir+"/unbindable", "tmpfs", 0, ""))
				must(t, "mount", unix.Mount("", dir+"/unbindable", "", unix.MS_UNBINDABLE, ""))
				mkdir(t, dir+"/rootfs/dir")
				write(t, dir+"/rootfs/file", "")
				symlink(t, "missing/../../x", dir+"/rootfs/updown")
				symlink(t, "loop", dir+"/rootfs/loop")
				err := failing(t, dir, example(tt.m))
				if !strings.Contains(strings.ReplaceAll(err.Error(), dir, "BUNDLE"), tt.want) || tt.errno != nil && !errors.Is(err, tt.errno) {
					t.Errorf("error is %q, want %q", err, tt.want)
				}
			})
		})
	}
}
