package rootfs

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What these tests defend is the directory dir/victim, which stands for the
// host. Symlinks of the image name it both ways: absolutely, and by climbing.

const climb = "../../../../../../../../../../../.."

// TestSymlinkedProcAndSys: CVE-2019-19921, CVE-2023-27561, CVE-2023-28642,
// CVE-2025-54867.
func TestSymlinkedProcAndSys(t *testing.T) {
	for _, tt := range []struct {
		link string
		m    specs.Mount
	}{
		{"/proc", specs.Mount{Type: "proc", Source: "proc", Destination: "/proc"}},
		{"/sys", specs.Mount{Type: "sysfs", Source: "sysfs", Destination: "/sys"}},
		{"/proc", specs.Mount{Source: "/proc", Destination: "/proc", Options: opts("rbind")}},
		{"/sys", specs.Mount{Source: "/sys", Destination: "/sys", Options: opts("rbind")}},
		{"/a", specs.Mount{Type: "proc", Source: "proc", Destination: "/a/proc"}},
	} {
		t.Run(tt.m.Type+tt.m.Source+" on "+tt.m.Destination, func(t *testing.T) {
			isolated(t, func(dir string) {
				mkdir(t, dir+"/rootfs/elsewhere/proc")
				symlink(t, "/elsewhere", dir+"/rootfs"+tt.link)
				if err := failing(t, dir, example(tt.m)); !errors.Is(err, unix.ELOOP) {
					t.Errorf("error is %v, want one about a symlink", err)
				}
				// Nor when it leads nowhere, and the mountpoint would be made.
				must(t, "remove", os.RemoveAll(dir+"/rootfs/elsewhere"))
				if err := failing(t, dir, example(tt.m)); !errors.Is(err, unix.ELOOP) {
					t.Errorf("error is %v, want one about a symlink", err)
				}
			})
		})
	}
}

// TestMakeDirNoSymlinks: a symlink that appears after the lookup is not
// followed while the mountpoint is made.
func TestMakeDirNoSymlinks(t *testing.T) {
	isolated(t, func(dir string) {
		symlink(t, "/elsewhere", dir+"/rootfs/proc")
		r := open(t, planFor(t, dir, example()))
		for _, path := range []string{"/proc", "/proc/sub"} {
			if fd, err := r.makeDir(path, true); !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) {
				t.Errorf("makeDir %s is %d, %v", path, fd, err)
			}
		}
		mkdir(t, dir+"/rootfs/elsewhere")
		for _, path := range []string{"/proc", "/proc/sub"} {
			if fd, err := r.makeDir(path, true); !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) {
				t.Errorf("makeDir %s is %d, %v", path, fd, err)
			}
		}
		if got := entries(t, dir+"/rootfs"); !slices.Equal(got, opts("elsewhere", "proc")) {
			t.Errorf("made: %v", got)
		}
	})
}

// TestSymlinkedRootfs: CVE-2025-54867, CVE-2019-18837.
func TestSymlinkedRootfs(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/victim/fs")
		symlink(t, "victim", dir+"/link")
		for _, path := range []string{"link", "link/fs", dir + "/link", dir + "/link/fs"} {
			s := example()
			s.Root.Path = path
			if _, err := Open(planFor(t, dir, s), nil); !errors.Is(err, unix.ELOOP) {
				t.Errorf("root.path %s: error is %v, want one about a symlink", path, err)
			}
		}
		// Where the bundle itself lies is the caller's matter.
		symlink(t, dir, dir+"/bundle")
		p := planFor(t, dir, example())
		p.Bundle = dir + "/bundle"
		open(t, p)
		if !isMounted(t, dir+"/rootfs") {
			t.Error("the root filesystem is not mounted")
		}
	})
}

// TestSymlinkedDev: CVE-2026-41579.
func TestSymlinkedDev(t *testing.T) {
	for _, climbing := range []bool{false, true} {
		isolated(t, func(dir string) {
			mkdir(t, dir+"/victim")
			target := dir + "/victim"
			if climbing {
				target = climb + target
			}
			symlink(t, target, dir+"/rootfs/dev")
			mounted(t, dir, example()) // no mount on /dev: nodes are made in the image
			if got := entries(t, dir+"/victim"); len(got) > 0 {
				t.Errorf("made on the host: %v", got)
			}
			if got := entries(t, dir+"/rootfs"+dir+"/victim"); !slices.Contains(got, "null") {
				t.Errorf("made in the container: %v", got)
			}
		})
	}
}

func TestSymlinkedDestination(t *testing.T) {
	isolated(t, func(dir string) {
		write(t, dir+"/victim/file", "host")
		write(t, dir+"/src/f", "src")
		root := dir + "/rootfs"
		symlink(t, dir+"/victim", root+"/abs")
		symlink(t, climb+dir+"/victim", root+"/rel")
		symlink(t, "abs", root+"/twice")
		mounted(t, dir, example(
			specs.Mount{Type: "tmpfs", Destination: "/abs"},
			specs.Mount{Source: "src", Destination: "/rel/made/by/bind", Options: opts("bind")},
			specs.Mount{Source: "src/f", Destination: "/twice/file", Options: opts("bind")},
			specs.Mount{Type: "tmpfs", Destination: "/twice/made", Options: opts("tmpcopyup")},
		))
		if got := entries(t, dir+"/victim"); !slices.Equal(got, opts("file")) || read(t, dir+"/victim/file") != "host" {
			t.Errorf("the host's directory holds %v", got)
		}
		if isMounted(t, dir+"/victim") {
			t.Error("mounted on the host's directory")
		}
		inside := root + dir + "/victim"
		if !isMounted(t, inside) || !isMounted(t, inside+"/made") || read(t, inside+"/file") != "src" {
			t.Error("not mounted inside the root")
		}
	})
}

func TestSymlinkIntoProcOrRoot(t *testing.T) {
	isolated(t, func(dir string) {
		write(t, dir+"/f", "fake")
		symlink(t, "/proc/self", dir+"/rootfs/p")
		symlink(t, "/proc", dir+"/rootfs/pp")
		symlink(t, "a/..", dir+"/rootfs/top")
		mkdir(t, dir+"/rootfs/a")
		proc := specs.Mount{Type: "proc", Source: "proc", Destination: "/proc"}
		for dest, want := range map[string]string{
			"/p/attr/exec": "into /proc", "/pp/uptime": "into /proc", "/top": "container's root",
		} {
			m := specs.Mount{Source: "f", Destination: dest, Options: opts("bind")}
			if dest == "/top" {
				m = specs.Mount{Type: "tmpfs", Destination: dest}
			}
			if err := failing(t, dir, example(proc, m)); !strings.Contains(err.Error(), want) {
				t.Errorf("a mount on %s gives %v", dest, err)
			}
		}
		// A second procfs elsewhere is no concern, nor is lxcfs on the first.
		mounted(t, dir, example(proc,
			specs.Mount{Source: "/proc", Destination: "/host/proc", Options: opts("bind")},
			specs.Mount{Source: "f", Destination: "/host/proc/uptime", Options: opts("bind")},
			specs.Mount{Source: "f", Destination: "/proc/uptime", Options: opts("bind")}))
		if got := read(t, dir+"/rootfs/proc/uptime"); got != "fake" {
			t.Errorf("/proc/uptime is %q", got)
		}
	})
}

// swapping exchanges a and b, in the directory dir, all the while f runs. It
// returns how often.
func swapping(t *testing.T, dir, a, b string, f func()) int64 {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, "open", err)
	defer unix.Close(fd)
	var stop atomic.Bool
	var swaps atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			if unix.Renameat2(fd, a, fd, b, unix.RENAME_EXCHANGE) == nil {
				swaps.Add(1)
			}
		}
	})
	f()
	stop.Store(true)
	wg.Wait()
	return swaps.Load()
}

// TestSwappedMountTarget: CVE-2021-30465 (a mount's target) and CVE-2024-45310
// (a mountpoint to be made). The destination is a directory at one moment and
// a symlink to the host at the next.
func TestSwappedMountTarget(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/victim")
		mkdir(t, dir+"/vol/t")
		symlink(t, dir+"/victim", dir+"/vol/evil")
		r := mounted(t, dir, example(specs.Mount{Source: "vol", Destination: "/vol", Options: opts("bind")}))
		swaps := swapping(t, dir+"/vol", "t", "evil", func() {
			for i := range 400 {
				for _, dest := range []string{"/vol/t", "/vol/t/new" + strconv.Itoa(i) + "/deep"} {
					m := Mount{Where: "mounts[1]", Type: "tmpfs", Destination: dest}
					// It may fail when it loses the race, but not escape.
					if err := r.mount(0, &m); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
						t.Fatal(err)
					}
				}
			}
		})
		if swaps < 100 {
			t.Skipf("only %d swaps: nothing is shown", swaps)
		}
		if got := entries(t, dir+"/victim"); len(got) > 0 {
			t.Errorf("made on the host: %v", got)
		}
		escaped, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir + "/victim"))
		must(t, "read mountinfo", err)
		if len(escaped) > 0 {
			t.Errorf("%d mounts on the host", len(escaped))
		}
	})
}

// TestSwappedCopyUpSource: what is copied is the image's, even when a file
// turns into a symlink to the host's between a look and the copying.
func TestSwappedCopyUpSource(t *testing.T) {
	isolated(t, func(dir string) {
		write(t, dir+"/victim", "secret")
		data := dir + "/rootfs/data"
		write(t, data+"/f", "image")
		symlink(t, dir+"/victim", data+"/l")
		from, err := unix.Open(data, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, "open", err)
		defer unix.Close(from)
		mkdir(t, dir+"/to")
		swaps := swapping(t, data, "f", "l", func() {
			for i := range 400 {
				path := dir + "/to/" + strconv.Itoa(i)
				mkdir(t, path)
				to, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				must(t, "open", err)
				copyUp(from, to) // may fail when it loses the race
				unix.Close(to)
				for _, name := range entries(t, path) {
					if st, err := os.Lstat(path + "/" + name); err == nil && st.Mode().IsRegular() && read(t, path+"/"+name) == "secret" {
						t.Fatal("the host's file was copied")
					}
				}
			}
		})
		if swaps < 100 {
			t.Skipf("only %d swaps: nothing is shown", swaps)
		}
	})
}

// TestFakeNull: CVE-2025-31133. What covers a masked file is the real
// /dev/null or nothing.
func TestFakeNull(t *testing.T) {
	for _, how := range []string{"file", "symlink", "other device", "missing"} {
		t.Run(how, func(t *testing.T) {
			isolated(t, func(dir string) {
				write(t, dir+"/rootfs/secret", "secret")
				s := example()
				s.Linux.MaskedPaths = opts("/secret")
				r := mounted(t, dir, s)
				null := dir + "/rootfs/dev/null"
				must(t, "remove", os.Remove(null))
				switch how {
				case "file":
					write(t, null, "")
				case "symlink":
					symlink(t, "zero", null)
				case "other device":
					must(t, "mknod", unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
				}
				if err := r.Finish(); err == nil || !strings.Contains(err.Error(), "linux.maskedPaths (/secret): the container's /dev/null") {
					t.Errorf("error is %v", err)
				}
				if isMounted(t, dir+"/rootfs/secret") {
					t.Error("the path is covered with something else")
				}
			})
		})
	}
}
