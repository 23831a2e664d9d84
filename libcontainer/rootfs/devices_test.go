package rootfs

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestDevices(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mounts []specs.Mount
	}{
		{"in a tmpfs", fsMounts()},
		{"in the image", []specs.Mount{fsMounts()[0]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolated(t, func(dir string) {
				old := unix.Umask(0o77)
				defer unix.Umask(old)
				s := example(tt.mounts...)
				id := uint32(7)
				s.Linux.Devices = []specs.LinuxDevice{
					{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200, FileMode: fileMode(0o662), UID: &id, GID: &id},
					{Path: "/deep/down/disk", Type: "b", Major: 7, Minor: 9},
					{Path: "/dev/pipe", Type: "p", FileMode: fileMode(0o620), GID: &id},
				}
				mounted(t, dir, s)
				root := dir + "/rootfs"
				for path, want := range map[string]Device{
					"/dev/null":       {Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(1, 3)},
					"/dev/zero":       {Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(1, 5)},
					"/dev/full":       {Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(1, 7)},
					"/dev/random":     {Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(1, 8)},
					"/dev/urandom":    {Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(1, 9)},
					"/dev/tty":        {Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(5, 0)},
					"/dev/net/tun":    {Mode: unix.S_IFCHR | 0o662, Dev: unix.Mkdev(10, 200), UID: 7, GID: 7},
					"/deep/down/disk": {Mode: unix.S_IFBLK | 0o666, Dev: unix.Mkdev(7, 9)},
					"/dev/pipe":       {Mode: unix.S_IFIFO | 0o620, GID: 7},
				} {
					var st unix.Stat_t
					must(t, "stat "+path, unix.Lstat(root+path, &st))
					if got := (Device{Mode: st.Mode, Dev: uint64(st.Rdev), UID: st.Uid, GID: st.Gid}); got != want {
						t.Errorf("%s is %+v, want %+v", path, got, want)
					}
				}
				for path, want := range map[string]string{
					"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
				} {
					if got, err := os.Readlink(root + "/dev/" + path); got != want {
						t.Errorf("/dev/%s is %q (%v), want %q", path, got, err, want)
					}
				}
				_, here := os.Stat("/proc/kcore")
				if got, err := os.Readlink(root + "/dev/core"); (err == nil) != (here == nil) || err == nil && got != "/proc/kcore" {
					t.Errorf("/dev/core is %q (%v); /proc/kcore: %v", got, err, here)
				}
				if st, err := os.Stat(root + "/deep/down"); err != nil || st.Mode().Perm() != 0o755 {
					t.Errorf("the made directory is %v (%v)", st, err)
				}
				if now := unix.Umask(0o77); now != 0o77 {
					t.Errorf("the umask is %o", now)
				}
			})
		})
	}
}

func TestDevicesThatExist(t *testing.T) {
	isolated(t, func(dir string) {
		dev := dir + "/rootfs/dev"
		mkdir(t, dev)
		must(t, "mknod", unix.Mknod(dev+"/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		symlink(t, "/elsewhere", dev+"/stdin")
		must(t, "mknod", unix.Mknod(dev+"/ptmx", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 2))))
		mounted(t, dir, example())
		if got, _ := os.Readlink(dev + "/stdin"); got != "/elsewhere" {
			t.Errorf("the image's /dev/stdin became %q", got)
		}
		if got, _ := os.Readlink(dev + "/ptmx"); got != "pts/ptmx" {
			t.Errorf("the image's /dev/ptmx became %q", got)
		}
		for name, want := range map[string]string{
			"zero": "default device (/dev/zero): a file is there already, and it is a file, not the character device 1:5",
			"full": "default device (/dev/full): a file is there already, and it is a symlink, not the character device 1:7",
			"tty":  "default device (/dev/tty): a file is there already, and it is the character device 1:9, not the character device 5:0",
		} {
			must(t, "remove", os.RemoveAll(dev))
			switch name {
			case "zero":
				write(t, dev+"/zero", "")
			case "full":
				mkdir(t, dev)
				symlink(t, "zero", dev+"/full")
			case "tty":
				mkdir(t, dev)
				must(t, "mknod", unix.Mknod(dev+"/tty", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 9))))
			}
			if err := failing(t, dir, example()); !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error is %q, want %q", err, want)
			}
		}
	})
}

func TestDevicesBound(t *testing.T) {
	isolated(t, func(dir string) {
		s := example()
		s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/pipe", Type: "p"}}
		p := planFor(t, dir, s)
		p.BindDevices = true
		r := open(t, p)
		must(t, "Mount", r.Mount())
		for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
			if !isMounted(t, dir+"/rootfs/dev/"+name) {
				t.Errorf("/dev/%s is not bound", name)
			}
		}
		var st unix.Stat_t
		must(t, "stat", unix.Stat(dir+"/rootfs/dev/null", &st))
		if !isNull(&st) {
			t.Errorf("/dev/null is %s", nodeName(st.Mode, uint64(st.Rdev)))
		}
		if isMounted(t, dir+"/rootfs/dev/pipe") {
			t.Error("a FIFO can be made anywhere, and is bound")
		}
	})
	isolated(t, func(dir string) {
		s := example()
		s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/zero", Type: "c", Major: 1, Minor: 3}}
		p := planFor(t, dir, s)
		p.BindDevices = true
		err := open(t, p).Mount()
		if err == nil || !strings.HasPrefix(err.Error(), "linux.devices[0] (/dev/zero): mknod is not permitted, and the host's /dev/zero is the character device 1:5, not the character device 1:3") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestDevFromTheHost(t *testing.T) {
	isolated(t, func(dir string) {
		mkdir(t, dir+"/hostdev")
		mounted(t, dir, example(specs.Mount{Source: "hostdev", Destination: "/dev", Options: opts("rbind", "ro")}))
		if got := entries(t, dir+"/hostdev"); len(got) > 0 {
			t.Errorf("made in the host's /dev: %v", got)
		}
		wantOptions(t, dir+"/rootfs/dev", "ro")
	})
}
