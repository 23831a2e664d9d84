package rootfs

import (
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// example returns a spec that compiles without a defect.
func example(mounts ...specs.Mount) *specs.Spec {
	return &specs.Spec{
		Root:   &specs.Root{Path: "rootfs"},
		Mounts: mounts,
		Linux:  &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}},
	}
}

func compile(t *testing.T, s *specs.Spec, e Env) Plan {
	t.Helper()
	if e.Bundle == "" {
		e.Bundle = "/b"
	}
	var d defect.List
	p := Compile(s, e, &d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

func compileOne(t *testing.T, m specs.Mount) Mount {
	t.Helper()
	return compile(t, example(m), Env{HostUserNS: true, NewCgroupNS: true}).Mounts[0]
}

// specOptions is the table of runtime-spec 1.3.0, config.md, "Linux mount
// options".
const specOptions = `async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev
nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev
rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro
rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime
suid symfollow sync tmpcopyup unbindable idmap ridmap`

func TestOptionTableIsTheSpecs(t *testing.T) {
	var names []string
	for i := range options {
		names = append(names, options[i].name)
	}
	if !sort.StringsAreSorted(names) {
		t.Error("options is not sorted, findOption needs it")
	}
	// rnodev is missing in the spec's table, and in its schema's examples.
	want := append(strings.Fields(specOptions), "rnodev")
	sort.Strings(want)
	if !slices.Equal(names, want) {
		t.Errorf("options differ from the spec's\n got %v\nwant %v", names, want)
	}
	if !slices.Equal(MountOptions(), want) {
		t.Errorf("MountOptions tells of others: %v", MountOptions())
	}
}

func TestCompileBindOptions(t *testing.T) {
	const at = unix.MOUNT_ATTR__ATIME
	for _, tt := range []struct {
		options          string
		set, clear       uint64
		recSet, recClear uint64
		propagation      []uint64
	}{
		{options: ""},
		{options: "defaults async sync dirsync mand nomand lazytime nolazytime iversion noiversion silent loud"},
		{options: "ro", set: unix.MOUNT_ATTR_RDONLY},
		{options: "ro rw", clear: unix.MOUNT_ATTR_RDONLY},
		{options: "nosuid nodev noexec", set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC},
		{options: "suid dev exec", clear: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC},
		{options: "nodiratime nosymfollow", set: unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW},
		{options: "diratime symfollow", clear: unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW},
		{options: "noatime", set: unix.MOUNT_ATTR_NOATIME, clear: at},
		{options: "strictatime", set: unix.MOUNT_ATTR_STRICTATIME, clear: at},
		{options: "relatime", clear: at},
		{options: "atime", clear: at},
		{options: "noatime atime", clear: at},
		{options: "strictatime atime", set: unix.MOUNT_ATTR_STRICTATIME, clear: at},
		{options: "nostrictatime", clear: at},
		{options: "noatime nostrictatime", set: unix.MOUNT_ATTR_NOATIME, clear: at},
		{options: "noatime strictatime", set: unix.MOUNT_ATTR_STRICTATIME, clear: at},
		{options: "norelatime"},
		{options: "relatime norelatime"},
		{options: "noatime norelatime", set: unix.MOUNT_ATTR_NOATIME, clear: at},
		{options: "rro rnosuid rnodev rnoexec", recSet: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC},
		{options: "rrw rsuid rdev rexec", recClear: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC},
		{options: "rnodiratime rnosymfollow", recSet: unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW},
		{options: "rdiratime rsymfollow", recClear: unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW},
		{options: "rnoatime", recSet: unix.MOUNT_ATTR_NOATIME, recClear: at},
		{options: "rstrictatime", recSet: unix.MOUNT_ATTR_STRICTATIME, recClear: at},
		{options: "rrelatime", recClear: at},
		{options: "ratime", recClear: at},
		{options: "rnostrictatime", recClear: at},
		{options: "rnorelatime"},
		{options: "private slave", propagation: []uint64{unix.MS_PRIVATE, unix.MS_SLAVE}},
		{options: "shared unbindable", propagation: []uint64{unix.MS_SHARED, unix.MS_UNBINDABLE}},
		{options: "rprivate rslave", propagation: []uint64{unix.MS_PRIVATE | unix.MS_REC, unix.MS_SLAVE | unix.MS_REC}},
		{options: "rshared runbindable", propagation: []uint64{unix.MS_SHARED | unix.MS_REC, unix.MS_UNBINDABLE | unix.MS_REC}},
	} {
		t.Run(tt.options, func(t *testing.T) {
			got := compileOne(t, specs.Mount{Destination: "/x", Source: "s", Options: append([]string{"bind"}, strings.Fields(tt.options)...)})
			want := Mount{
				Where: "mounts[0]", Kind: Bind, Source: "/b/s", Destination: "/x",
				Set: tt.set, Clear: tt.clear, RecSet: tt.recSet, RecClear: tt.recClear, Propagation: tt.propagation,
				Unnamed: unnamed(tt.set, tt.clear), // TestUnnamed
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

func flag(name string) Param         { return Param{Key: name, Flag: true} }
func value(key, val string) Param    { return Param{Key: key, Value: val} }
func params(ps ...Param) []Param     { return ps }
func opts(o ...string) []string      { return o }
func long(n int) string              { return strings.Repeat("x", n) }
func fileMode(m uint32) *os.FileMode { f := os.FileMode(m); return &f }

func TestCompileMount(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   specs.Mount
		want Mount
	}{
		{"type bind without the option", specs.Mount{Type: "bind", Source: "/s", Destination: "x/../y/"},
			Mount{Kind: Bind, Source: "/s", Destination: "/y"}},
		{"type rbind without the option", specs.Mount{Type: "rbind", Source: "/s", Destination: "/y"},
			Mount{Kind: Bind, Source: "/s", Destination: "/y", Recursive: true}},
		{"type of a bind mount means nothing", specs.Mount{Type: "tmpfs", Source: "/s", Destination: "/y", Options: opts("rbind")},
			Mount{Kind: Bind, Source: "/s", Destination: "/y", Recursive: true}},
		{"a destination above the root stays in it", specs.Mount{Type: "bind", Source: "/s", Destination: "../../y"},
			Mount{Kind: Bind, Source: "/s", Destination: "/y"}},
		{"tmpfs", specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/t", Options: opts("nosuid", "noatime", "size=64k", "sync", "lazytime", "dirsync", "mand", "mode=700")},
			Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/t", Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOATIME, OwnMode: true,
				Params: params(flag("sync"), flag("dirsync"), flag("mand"), flag("lazytime"), value("size", "64k"), value("mode", "700"))}},
		{"later options win", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("sync", "async", "lazytime", "nolazytime", "mand", "nomand", "ro", "rw")},
			Mount{Type: "tmpfs", Destination: "/t"}},
		{"options joined by commas", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("size=1m,mode=755,,inode64")},
			Mount{Type: "tmpfs", Destination: "/t", OwnMode: true, Params: params(value("size", "1m"), value("mode", "755"), flag("inode64"))}},
		{"a read-only tmpfs is filled first", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("ro")},
			Mount{Type: "tmpfs", Destination: "/t", LateReadonly: true}},
		{"so is one made read-only recursively", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("rro")},
			Mount{Type: "tmpfs", Destination: "/t", LateReadonly: true}},
		{"and whatever is on /dev", specs.Mount{Type: "ext4", Source: "/dev/vdb", Destination: "/dev", Options: opts("ro")},
			Mount{Type: "ext4", Source: "/dev/vdb", Destination: "/dev", LateReadonly: true}},
		{"other filesystems are read-only themselves", specs.Mount{Type: "ext4", Source: "/dev/vdb", Destination: "/e", Options: opts("ro")},
			Mount{Type: "ext4", Source: "/dev/vdb", Destination: "/e", Set: unix.MOUNT_ATTR_RDONLY, Params: params(flag("ro"))}},
		{"a sysfs may be shared: only the mount is read-only", specs.Mount{Type: "sysfs", Source: "sysfs", Destination: "/sys", Options: opts("ro")},
			Mount{Type: "sysfs", Source: "sysfs", Destination: "/sys", Set: unix.MOUNT_ATTR_RDONLY, NoSymlinks: true}},
		{"proc", specs.Mount{Type: "proc", Source: "proc", Destination: "/proc", Options: opts("hidepid=2")},
			Mount{Type: "proc", Source: "proc", Destination: "/proc", NoSymlinks: true, Params: params(value("hidepid", "2"))}},
		{"a bound /proc has to be one", specs.Mount{Type: "bind", Source: "/proc", Destination: "/proc"},
			Mount{Kind: Bind, Source: "/proc", Destination: "/proc", NoSymlinks: true, ProcSource: true}},
		{"lxcfs", specs.Mount{Type: "bind", Source: "/s", Destination: "/proc/meminfo"},
			Mount{Kind: Bind, Source: "/s", Destination: "/proc/meminfo"}},
		{"tmpcopyup", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("tmpcopyup")},
			Mount{Type: "tmpfs", Destination: "/t", CopyUp: true}},
		{"cgroup", specs.Mount{Type: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Options: opts("ro", "nosuid")},
			Mount{Type: "cgroup2", Source: "cgroup", Destination: "/sys/fs/cgroup", Set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}},
		{"overlay escapes commas", specs.Mount{Type: "overlay", Destination: "/o", Options: opts(`lowerdir=/a\,b:/c,upperdir=/u`)},
			Mount{Type: "overlay", Destination: "/o", Params: params(value("lowerdir", `/a\,b:/c`), value("upperdir", "/u"))}},
		{"SELinux quotes commas", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts(`context="u:r:t:s0:c1,c2"`, "mode=1777")},
			Mount{Type: "tmpfs", Destination: "/t", OwnMode: true, Params: params(value("context", "u:r:t:s0:c1,c2"), value("mode", "1777"))}},
		{"a long value needs mount(2)", specs.Mount{Type: "overlay", Destination: "/o", Options: opts("lowerdir=" + long(300))},
			Mount{Type: "overlay", Destination: "/o", Legacy: true, Params: params(value("lowerdir", long(300)))}},
		{"so do silent and iversion", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("silent", "iversion")},
			Mount{Type: "tmpfs", Destination: "/t", Legacy: true, LegacyFlags: unix.MS_SILENT | unix.MS_I_VERSION}},
		{"but not what takes them back", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("silent", "iversion", "loud", "noiversion")},
			Mount{Type: "tmpfs", Destination: "/t"}},
		{"remount of a bind mount", specs.Mount{Destination: "/t", Source: "/s", Options: opts("bind", "remount", "ro")},
			Mount{Kind: Remount, Destination: "/t", Set: unix.MOUNT_ATTR_RDONLY}},
		{"remount of a filesystem", specs.Mount{Type: "tmpfs", Destination: "/t", Options: opts("remount", "rw", "async", "nomand", "nolazytime", "size=1m")},
			Mount{Kind: Remount, Destination: "/t", Clear: unix.MOUNT_ATTR_RDONLY, Params: params(flag("rw"), flag("async"), flag("nomand"), flag("nolazytime"), value("size", "1m"))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Where = "mounts[0]"
			if got := compileOne(t, tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestCompileCgroupWithoutNamespace(t *testing.T) {
	const ro = unix.MOUNT_ATTR_RDONLY
	for _, tt := range []struct {
		name       string
		options    []string
		env        Env
		set, clear uint64
		said       string // the beginning of what --strict says of it
	}{
		{"root's", nil, Env{HostUserNS: true}, 0, 0, ""},
		{"root's, writable", []string{"rw"}, Env{HostUserNS: true}, 0, ro, ""},
		{"root's, read-only", []string{"ro"}, Env{HostUserNS: true}, ro, 0, ""},
		{"a user's", nil, Env{HostUserNS: true, Unprivileged: true}, ro, 0, ""},
		{"a user's, writable", []string{"rw"}, Env{HostUserNS: true, Unprivileged: true}, ro, 0, `mounts[0].options[0]: "rw" is ignored`},
		{"a user's, writable with all below", []string{"rrw"}, Env{HostUserNS: true, Unprivileged: true}, ro, 0, `mounts[0].options[0]: "rrw" is ignored`},
		{"a user's, read-only in the end", []string{"rw", "ro"}, Env{HostUserNS: true, Unprivileged: true}, ro, 0, ""},
		{"that of root in a user namespace", nil, Env{}, ro, 0, ""},
		{"that of root in a user namespace, writable", []string{"rw"}, Env{}, ro, 0, `mounts[0].options[0]: "rw" is ignored`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := example(specs.Mount{Type: "cgroup2", Source: "cgroup", Destination: "/sys/fs/cgroup", Options: append(tt.options, "nsdelegate")})
			tt.env.CgroupDir = "/sys/fs/cgroup/c1"
			p := compile(t, s, tt.env)
			want := Mount{Where: "mounts[0]", Kind: Bind, Source: "/sys/fs/cgroup/c1", Destination: "/sys/fs/cgroup", Set: tt.set, Clear: tt.clear,
				Unnamed: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW}
			if tt.set|tt.clear == 0 {
				want.Unnamed = 0
			}
			if !reflect.DeepEqual(p.Mounts[0], want) {
				t.Errorf("\n got %+v\nwant %+v", p.Mounts[0], want)
			}
			var d defect.List
			p.Unused(s, &d)
			said := ""
			for _, d := range d {
				if strings.Contains(d.Problem, "rootless") {
					said += d.String()
				}
			}
			if tt.said == "" && said != "" || !strings.HasPrefix(said, tt.said) {
				t.Errorf("strict: %q, want %q", said, tt.said)
			}
			if (len(p.Warnings) > 0) != (tt.said != "") {
				t.Errorf("warnings: %q", p.Warnings)
			}
		})
	}
}

func TestCompileDevices(t *testing.T) {
	s := example()
	one := uint32(1)
	s.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, FileMode: fileMode(unix.S_IFCHR | 0o640), UID: &one, GID: &one},
		{Path: "/dev/fuse", Type: "u", Major: 10, Minor: 229},
		{Path: "/dev/../dev/null", Type: "c", Major: 1, Minor: 3, FileMode: fileMode(0o600)},
		{Path: "/dev/ptmx", Type: "c", Major: 5, Minor: 2},
		{Path: "/disk", Type: "b", Major: 259, Minor: 1 << 19},
		{Path: "/run/pipe", Type: "p"},
	}
	p := compile(t, s, Env{HostUserNS: true})
	var paths []string
	for _, d := range p.Devices {
		paths = append(paths, d.Path)
	}
	if got := strings.Join(paths, " "); got != "/dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/fuse /dev/null /disk /run/pipe" {
		t.Errorf("devices are %s", got)
	}
	for path, want := range map[string]Device{
		"/dev/fuse": {"linux.devices[0]", "/dev/fuse", unix.S_IFCHR | 0o640, unix.Mkdev(10, 229), 1, 1},
		"/dev/null": {"linux.devices[2]", "/dev/null", unix.S_IFCHR | 0o600, unix.Mkdev(1, 3), 0, 0},
		"/dev/tty":  {"default device", "/dev/tty", unix.S_IFCHR | 0o666, unix.Mkdev(5, 0), 0, 0},
		"/disk":     {"linux.devices[4]", "/disk", unix.S_IFBLK | 0o666, unix.Mkdev(259, 1<<19), 0, 0},
		"/run/pipe": {"linux.devices[5]", "/run/pipe", unix.S_IFIFO | 0o666, 0, 0, 0},
	} {
		if got := find(p.Devices, path); got == nil || *got != want {
			t.Errorf("%s is %+v, want %+v", path, got, want)
		}
	}
}

func TestCompileRoot(t *testing.T) {
	s := example()
	s.Root = &specs.Root{Path: "./fs/", Readonly: true}
	s.Process = &specs.Process{Cwd: "/srv/"}
	s.Linux.RootfsPropagation = "rshared"
	s.Linux.MaskedPaths = []string{"/proc/kcore", "/proc/acpi", "/proc//kcore"}
	s.Linux.ReadonlyPaths = []string{"/proc/sys"}
	p := compile(t, s, Env{Bundle: "/b", NoPivot: true, HostUserNS: true})
	p.Devices = nil
	want := Plan{
		Bundle: "/b", Rootfs: "fs", Propagation: unix.MS_SHARED | unix.MS_REC, NoPivot: true, Readonly: true, Cwd: "/srv",
		SetupDev: true, MaskedPaths: opts("/proc/kcore", "/proc/acpi"), ReadonlyPaths: opts("/proc/sys"),
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("\n got %+v\nwant %+v", p, want)
	}
}

func TestCompileDevFromTheHost(t *testing.T) {
	if p := compile(t, example(specs.Mount{Type: "bind", Source: "/dev", Destination: "/dev/"}), Env{}); p.SetupDev || !p.BindDevices {
		t.Errorf("SetupDev %v BindDevices %v, want false and, in a user namespace, true", p.SetupDev, p.BindDevices)
	}
	if p := compile(t, example(specs.Mount{Type: "tmpfs", Destination: "/dev"}), Env{HostUserNS: true}); !p.SetupDev || p.BindDevices {
		t.Errorf("SetupDev %v BindDevices %v, want true and false", p.SetupDev, p.BindDevices)
	}
}

func TestCompileSysctls(t *testing.T) {
	s := example()
	for _, ns := range []specs.LinuxNamespaceType{specs.IPCNamespace, specs.NetworkNamespace, specs.UTSNamespace, specs.UserNamespace} {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: ns})
	}
	s.Linux.Sysctl = map[string]string{
		"net.ipv4.conf.eth0/100.forwarding": "1", "net/ipv4/conf/eth0.100/mtu": "2", "kernel.shmmax": "3",
		"fs.mqueue.msg_max": "4", "kernel.domainname": "d", "user.max_user_namespaces": "5",
	}
	want := []Sysctl{
		{"fs.mqueue.msg_max", "sys/fs/mqueue/msg_max", "4"},
		{"kernel.domainname", "sys/kernel/domainname", "d"},
		{"kernel.shmmax", "sys/kernel/shmmax", "3"},
		{"net.ipv4.conf.eth0/100.forwarding", "sys/net/ipv4/conf/eth0.100/forwarding", "1"},
		{"net/ipv4/conf/eth0.100/mtu", "sys/net/ipv4/conf/eth0.100/mtu", "2"},
		{"user.max_user_namespaces", "sys/user/max_user_namespaces", "5"},
	}
	if got := compile(t, s, Env{}).Sysctls; !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestCompileDefects(t *testing.T) {
	mnt := func(m specs.Mount) *specs.Spec { return example(m) }
	lin := func(f func(*specs.Linux)) *specs.Spec { s := example(); f(s.Linux); return s }
	dev := func(d specs.LinuxDevice) *specs.Spec {
		return lin(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{d} })
	}
	sysctl := func(name string, ns ...specs.LinuxNamespaceType) *specs.Spec {
		return lin(func(l *specs.Linux) {
			l.Sysctl = map[string]string{name: "1"}
			for _, t := range ns {
				l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: t})
			}
		})
	}
	ids := []specs.LinuxIDMapping{{Size: 1}}
	for _, tt := range []struct {
		name string
		s    *specs.Spec
		want string // prefix of the only defect
	}{
		{"no root", &specs.Spec{Linux: example().Linux}, "root: missing"},
		{"no root path", &specs.Spec{Root: &specs.Root{}, Linux: example().Linux}, "root.path: missing"},
		{"host root", &specs.Spec{Root: &specs.Root{Path: "/"}, Linux: example().Linux}, "root.path: the host's root"},
		{"NUL in root", &specs.Spec{Root: &specs.Root{Path: "a\x00"}, Linux: example().Linux}, `root.path: "a\x00" holds a NUL`},
		{"no destination", mnt(specs.Mount{Type: "tmpfs"}), "mounts[0].destination: missing"},
		{"NUL in destination", mnt(specs.Mount{Type: "tmpfs", Destination: "/a\x00"}), "mounts[0].destination: "},
		{"NUL in source", mnt(specs.Mount{Type: "bind", Destination: "/a", Source: "\x00"}), "mounts[0].source: "},
		{"NUL in type", mnt(specs.Mount{Type: "t\x00", Destination: "/a"}), "mounts[0].type: "},
		{"NUL in option", mnt(specs.Mount{Type: "tmpfs", Destination: "/a", Options: opts("ro", "x\x00")}), "mounts[0].options[1]: "},
		{"no type", mnt(specs.Mount{Destination: "/a", Options: opts("rshared")}), "mounts[0].type: missing"},
		{"no bind source", mnt(specs.Mount{Type: "bind", Destination: "/a"}), "mounts[0].source: missing"},
		{"copyup elsewhere", mnt(specs.Mount{Type: "ext4", Destination: "/a", Options: opts("tmpcopyup")}), "mounts[0].options[0]: tmpcopyup is only"},
		{"idmap", mnt(specs.Mount{Source: "/", Destination: "/a", Options: opts("bind", "idmap")}), "mounts[0].options[1]: idmap: there are neither"},
		{"ridmap", mnt(specs.Mount{Source: "/", Destination: "/a", Options: opts("bind", "ridmap")}), "mounts[0].options[1]: ridmap: there are neither"},
		{"uid mappings", mnt(specs.Mount{Source: "/", Destination: "/a", Options: opts("bind"), UIDMappings: ids}), "mounts[0].gidMappings: missing"},
		{"gid mappings", mnt(specs.Mount{Source: "/", Destination: "/a", Options: opts("bind"), GIDMappings: ids}), "mounts[0].uidMappings: missing"},
		{"idmap of a remount", mnt(specs.Mount{Destination: "/a", Options: opts("remount", "idmap"), UIDMappings: ids, GIDMappings: ids}), "mounts[0].options[1]: the ids of a mount are mapped when"},
		{"on the root", mnt(specs.Mount{Type: "tmpfs", Destination: "/x/.."}), "mounts[0].destination: the container's root"},
		{"tmpfs on /proc", mnt(specs.Mount{Type: "tmpfs", Destination: "/proc"}), "mounts[0].destination: only a procfs"},
		{"tmpfs on /sys", mnt(specs.Mount{Type: "tmpfs", Destination: "/sys"}), "mounts[0].destination: only a sysfs"},
		{"inside /proc", mnt(specs.Mount{Type: "bind", Source: "/s", Destination: "/proc/self/attr"}), `mounts[0].destination: "/proc/self/attr" is inside /proc`},
		{"proc inside /proc", mnt(specs.Mount{Type: "proc", Destination: "/x/../proc/1"}), `mounts[0].destination: "/proc/1" is inside /proc`},
		{"cgroup with nothing to show", mnt(specs.Mount{Type: "cgroup", Destination: "/sys/fs/cgroup"}), "mounts[0]: neither a cgroup namespace"},
		{"too much data", mnt(specs.Mount{Type: "overlay", Destination: "/o", Options: opts("lowerdir=" + long(5000))}), "mounts[0].options: the filesystem-specific options are longer"},
		{"propagation", lin(func(l *specs.Linux) { l.RootfsPropagation = "ro" }), `linux.rootfsPropagation: "ro" is none of`},
		{"mount label", lin(func(l *specs.Linux) { l.MountLabel = "x" }), `linux.mountLabel: "x" cannot be applied: SELinux is not enabled`},
		{"masked root", lin(func(l *specs.Linux) { l.MaskedPaths = opts("/x", "/") }), "linux.maskedPaths[1]: "},
		{"empty read-only path", lin(func(l *specs.Linux) { l.ReadonlyPaths = opts("") }), "linux.readonlyPaths[0]: empty"},
		{"NUL in masked path", lin(func(l *specs.Linux) { l.MaskedPaths = opts("\x00") }), "linux.maskedPaths[0]: "},
		{"device without path", dev(specs.LinuxDevice{Type: "c"}), "linux.devices[0].path: missing"},
		{"device on the root", dev(specs.LinuxDevice{Type: "c", Path: "/."}), "linux.devices[0].path: "},
		{"device without type", dev(specs.LinuxDevice{Path: "/dev/x"}), "linux.devices[0].type: missing"},
		{"device of no type", dev(specs.LinuxDevice{Path: "/dev/x", Type: "a"}), `linux.devices[0].type: "a" is none of`},
		{"device major", dev(specs.LinuxDevice{Path: "/dev/x", Type: "c", Major: -1}), "linux.devices[0].major: -1 is not"},
		{"device minor", dev(specs.LinuxDevice{Path: "/dev/x", Type: "b", Minor: 1 << 20}), "linux.devices[0].minor: 1048576 is not"},
		{"device mode", dev(specs.LinuxDevice{Path: "/dev/x", Type: "p", FileMode: fileMode(0o1000000)}), "linux.devices[0].fileMode: "},
		{"two devices in one place", lin(func(l *specs.Linux) {
			l.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Minor: 1}, {Path: "/dev//x", Type: "c", Minor: 2}}
		}), "linux.devices[1].path: /dev/x is another device in linux.devices[0] already"},
		{"sysctl of no namespace", sysctl("vm.swappiness"), "linux.sysctl.vm.swappiness: belongs to no namespace"},
		{"sysctl kernel.hostname", sysctl("kernel.hostname", specs.UTSNamespace), "linux.sysctl.kernel.hostname: the property hostname"},
		{"sysctl without ipc", sysctl("kernel.sem"), "linux.sysctl.kernel.sem: needs its own ipc namespace"},
		{"sysctl without ipc, mqueue", sysctl("fs.mqueue.msg_max"), "linux.sysctl.fs.mqueue.msg_max: needs its own ipc namespace"},
		{"sysctl without network", sysctl("net.core.somaxconn"), "linux.sysctl.net.core.somaxconn: needs its own network namespace"},
		{"sysctl without network, other form", sysctl("net/core/somaxconn"), "linux.sysctl.net/core/somaxconn: needs its own network namespace"},
		{"sysctl without uts", sysctl("kernel.domainname"), "linux.sysctl.kernel.domainname: needs its own uts namespace"},
		{"sysctl without user", sysctl("user.max_ipc_namespaces"), "linux.sysctl.user.max_ipc_namespaces: needs its own user namespace"},
		{"sysctl upwards", sysctl("net/../kernel/core_pattern", specs.NetworkNamespace), "linux.sysctl.net/../kernel/core_pattern: not the name"},
		{"sysctl upwards with dots", sysctl("net.//.kernel.core_pattern", specs.NetworkNamespace), "linux.sysctl.net.//.kernel.core_pattern: not the name"},
		{"sysctl without name", sysctl(""), "linux.sysctl.: not the name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			Compile(tt.s, Env{Bundle: "/b", HostUserNS: true}, &d)
			if len(d) != 1 || !strings.HasPrefix(d[0].String(), tt.want) {
				t.Errorf("defects are %v, want one that begins with %q", d, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name string
		ns   specs.LinuxNamespaceType
		flag uintptr
	}{
		{"net.core.somaxconn", specs.NetworkNamespace, unix.CLONE_NEWNET},
		{"kernel.shmmni", specs.IPCNamespace, unix.CLONE_NEWIPC},
		{"fs.mqueue.msg_max", specs.IPCNamespace, unix.CLONE_NEWIPC},
		{"kernel.domainname", specs.UTSNamespace, unix.CLONE_NEWUTS},
	} {
		var host, own defect.List
		Compile(sysctl(tt.name, tt.ns), Env{Bundle: "/b", HostNamespaces: tt.flag}, &host)
		if len(host) != 1 || !strings.Contains(host[0].Problem, "is the host's") {
			t.Errorf("%s in a namespace of the host's gives %v", tt.name, host)
		}
		Compile(sysctl(tt.name, tt.ns), Env{Bundle: "/b", HostNamespaces: ^tt.flag}, &own)
		if len(own) > 0 {
			t.Errorf("%s in a namespace of its own gives %v", tt.name, own)
		}
	}
}

func TestUnnamed(t *testing.T) {
	const ro, suid, dev, exec = unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NOEXEC
	const sym, dir = unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MOUNT_ATTR_NODIRATIME
	for _, tt := range []struct {
		name             string
		set, clear, want uint64
	}{
		{"no option: the source's flags stay", 0, 0, 0},
		{"one is set", ro, 0, suid | dev | exec | sym},
		{"one is cleared", 0, exec, ro | suid | dev | sym},
		{"all are named", ro | suid | sym, dev | exec, 0},
		{"access times", unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME, ro | suid | dev | exec | sym | dir},
		{"directories' access times", dir, 0, ro | suid | dev | exec | sym},
	} {
		if got := unnamed(tt.set, tt.clear); got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, got, tt.want)
		}
	}
}

func TestDestination(t *testing.T) {
	for _, tt := range []struct{ path, rootfs, want string }{
		{"/x", "/b/rootfs", "/x"},
		{"relative", "/b/rootfs", "/relative"},
		{"/../../x/.", "/b/rootfs", "/x"},
		{"/b/rootfs/x", "/b/rootfs", "/x"},
		{"/b/rootfs", "/b/rootfs", "/"},
		{"/b/rootfs2/x", "/b/rootfs", "/b/rootfs2/x"},
		{"/x", "", "/x"},
	} {
		if got := destination(tt.path, tt.rootfs); got != tt.want {
			t.Errorf("destination(%q, %q) = %q, want %q", tt.path, tt.rootfs, got, tt.want)
		}
	}
}

// Engines leave a filesystem's options on bind mounts, and empty ones. mount(2)
// ignores them.
func TestDataOnBind(t *testing.T) {
	m := specs.Mount{Source: "/", Destination: "/a", Options: []string{"", "bind", "ro", "mode=755"}}
	p := compile(t, example(m), Env{})
	want := []string{`mounts[0].options[3]: "mode=755", an option of a filesystem, has no effect on a bind mount`}
	if !slices.Equal(p.Warnings, want) || len(p.Mounts[0].Params) > 0 {
		t.Errorf("warnings %q, want %q; params %v, want none", p.Warnings, want, p.Mounts[0].Params)
	}
}

// What is done in a mount namespace that is not the container's own.
func TestSharedMounts(t *testing.T) {
	own, joined := example(), example()
	joined.Linux.Namespaces[0].Path = "/ns"
	whole := example()
	whole.Linux.Namespaces[0].Path = "/ns"
	whole.Root.Path = "/"
	for _, tt := range []struct {
		name          string
		s             *specs.Spec
		e             Env
		shared, whole bool
	}{
		{"its own", own, Env{}, false, false},
		{"gourd's", own, Env{HostMounts: true}, true, false},
		{"joined", joined, Env{}, true, false},
		{"joined, with its root", whole, Env{}, true, true},
	} {
		p := compile(t, tt.s, tt.e)
		if p.Shared != tt.shared || p.Whole != tt.whole || p.SetupDev == tt.whole {
			t.Errorf("%s: Shared %v, Whole %v, SetupDev %v; want %v, %v, %v", tt.name, p.Shared, p.Whole, p.SetupDev, tt.shared, tt.whole, !tt.whole)
		}
	}
	whole.Mounts = []specs.Mount{{Type: "tmpfs", Destination: "/t"}}
	var d defect.List
	if Compile(whole, Env{Bundle: "/b"}, &d); len(d) != 1 || !strings.HasPrefix(d[0].String(), "mounts: the mount namespace is joined") {
		t.Errorf("a mount in the whole of a joined namespace: %v", d)
	}
}
