package plan

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/landlock"
	"github.com/gourd-oci/gourd/libcontainer/netdevices"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

func TestStraight(t *testing.T) {
	mount := func(m rootfs.Mount) func(*Plan) {
		m.Where, m.Destination = "mounts[0]", "/d"
		return func(p *Plan) { p.Init.Rootfs.Mounts = []rootfs.Mount{m} }
	}
	propagation := func(flags uint64) func(*Plan) { return func(p *Plan) { p.Init.Rootfs.Propagation = flags } }
	for _, tt := range []struct {
		name   string
		change func(*Plan)
		why    string
	}{
		{"plain", func(*Plan) {}, ""},
		{"left at the gate", func(p *Plan) { p.Init.Waits = true }, ""},
		{"a terminal", func(p *Plan) { p.Init.Terminal = true }, ""},
		{"a filter", func(p *Plan) { p.Init.Seccomp = &seccomp.Program{} }, ""},
		{"a joined network namespace", func(p *Plan) { p.Enter.Join = []Join{{Flag: unix.CLONE_NEWNET}} }, ""},
		{"a hook of the runtime", func(p *Plan) { p.Init.HookSync = true }, ""},
		{"hooks around it", func(p *Plan) { p.Hooks.Poststart = []hooks.Hook{{}} }, ""},

		{"no pid namespace", func(p *Plan) { p.Enter.New &^= unix.CLONE_NEWPID }, "its pid namespace is not its own"},
		{"a joined mount namespace", func(p *Plan) { p.Enter.New &^= unix.CLONE_NEWNS }, "its mount namespace is not its own"},
		{"a user namespace", func(p *Plan) { p.Init.UserNS = true }, "it has a user namespace"},
		{"a time namespace", func(p *Plan) { p.Enter.New |= unix.CLONE_NEWTIME }, "it has a time namespace"},
		{"systemd", func(p *Plan) { p.Cgroup.Manager = cgroups.ManagerSystemd }, ""},
		{"network devices", func(p *Plan) { p.Devices = make([]netdevices.Device, 1) }, "network devices are moved into it"},
		{"a hook in it", func(p *Plan) { p.Init.HookSync, p.Init.CreateHooks = true, []hooks.Hook{{}} }, "createContainer hooks are run in it"},
		{"a hook at its start", func(p *Plan) { p.Init.StartHooks = []hooks.Hook{{}} }, "startContainer hooks are run in it"},
		{"Landlock", func(p *Plan) { p.Init.Landlock = &landlock.Plan{} }, "it has Landlock rules"},
		{"a listener", func(p *Plan) { p.Init.Seccomp = &seccomp.Program{Notify: true} }, "its seccomp filter has a listener"},
		{"AppArmor", func(p *Plan) { p.Init.Credentials.AppArmorProfile = "p" }, ""},
		{"SELinux", func(p *Plan) { p.Init.Credentials.SELinuxLabel = "l" }, "it has SELinux labels"},
		{"inheritable beyond the bounding set", func(p *Plan) { p.Init.Credentials.Capabilities.Inheritable = 1 },
			"it has inheritable capabilities beyond the bounding set"},
		{"no pivot_root", func(p *Plan) { p.Init.Rootfs.NoPivot = true }, "its root is not changed by pivot_root"},
		{"bound devices", func(p *Plan) { p.Init.Rootfs.BindDevices = true }, "its devices are the host's"},

		{"rprivate", propagation(unix.MS_PRIVATE | unix.MS_REC), ""},
		{"rslave", propagation(unix.MS_SLAVE | unix.MS_REC), ""},
		{"slave", propagation(unix.MS_SLAVE), "linux.rootfsPropagation"},
		{"rshared", propagation(unix.MS_SHARED | unix.MS_REC), "linux.rootfsPropagation"},
		{"runbindable", propagation(unix.MS_UNBINDABLE | unix.MS_REC), "linux.rootfsPropagation"},

		{"a bind mount", mount(rootfs.Mount{Kind: rootfs.Bind}), ""},
		{"a filesystem", mount(rootfs.Mount{Type: "proc"}), ""},
		{"tmpcopyup", mount(rootfs.Mount{Type: "tmpfs", OwnMode: true, CopyUp: true}), "mounts[0] (/d): tmpcopyup"},
		{"a tmpfs on the root filesystem", mount(rootfs.Mount{Type: "tmpfs"}), ""},
		{"a tmpfs on a mount", func(p *Plan) {
			p.Init.Rootfs.Mounts = []rootfs.Mount{{Kind: rootfs.Bind, Source: "/s", Destination: "/d"}, {Where: "mounts[1]", Type: "tmpfs", Destination: "/d/t"}}
		}, "mounts[1] (/d/t): a tmpfs takes the mode of what it covers"},
		{"mapped ids", mount(rootfs.Mount{Kind: rootfs.Bind, IDMap: &rootfs.IDMap{}}), "mounts[0] (/d): its ids are mapped"},
		{"long parameters", mount(rootfs.Mount{Type: "overlay", Legacy: true}), "mounts[0] (/d): it needs mount(2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Plan{Enter: Enter{New: unix.CLONE_NEWNS | unix.CLONE_NEWPID}}
			tt.change(p)
			if why := p.Straight(); why != tt.why {
				t.Errorf("%q, want %q", why, tt.why)
			}
		})
	}
}

// straightSteps returns what the table does, a line for each system call,
// repetitions once, and without what only closes or looks. Every jump must lead
// somewhere.
func straightSteps(t *testing.T, i *StraightInit) string {
	t.Helper()
	table := &nsenter.Tail{Table: &nsenter.Table{}}
	i.AppendSteps(table)
	var lines []string
	for n, s := range table.Steps {
		if s.Target < 0 || s.Target > len(table.Steps) || s.Kind == nsenter.Jump && s.Target == 0 {
			t.Errorf("step %d (%s) goes on at %d of %d", n, s.Why, s.Target, len(table.Steps))
		}
		if s.Kind == nsenter.Jump || s.Why == "close it" || s.Why == "look at it" || len(lines) > 0 && lines[len(lines)-1] == s.Why {
			continue
		}
		lines = append(lines, s.Why)
	}
	return strings.Join(lines, "\n")
}

// TestStraightOrder holds the order of the set-up, which is the point of it, and is
// initproc's.
func TestStraightOrder(t *testing.T) {
	score := 5
	in := &Init{
		Hostname: "h", LoopbackUp: true,
		Rootfs: rootfs.Plan{
			Bundle: "/b", Rootfs: "/b/rootfs", Cwd: "/srv", Readonly: true, SetupDev: true,
			Mounts: []rootfs.Mount{
				{Where: "mounts[0]", Type: "proc", Destination: "/proc"},
				{Where: "mounts[1]", Kind: rootfs.Bind, Source: "/s", Destination: "/d/e", Set: unix.MOUNT_ATTR_RDONLY, Propagation: []uint64{unix.MS_PRIVATE}},
				{Where: "mounts[2]", Type: "tmpfs", Destination: "/dev", OwnMode: true, LateReadonly: true},
			},
			Devices:       []rootfs.Device{{Where: "default device", Path: "/dev/null", Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(1, 3)}},
			Sysctls:       []rootfs.Sysctl{{Name: "a.b", File: "sys/a/b", Value: "1"}},
			ReadonlyPaths: []string{"/proc/sys"}, MaskedPaths: []string{"/proc/keys"},
		},
		Credentials: credentials.Plan{
			Args: []string{"prog"}, Env: []string{"PATH=/bin"}, Cwd: "/srv", Keyring: "_ses.c", AppArmorProfile: "prof", OOMScoreAdj: &score, UID: 7,
			Rlimits: []credentials.Rlimit{{Resource: unix.RLIMIT_CORE, Hard: 2}}, NoNewPrivileges: true,
			Capabilities: credentials.Capabilities{LastCap: 3},
		},
		Seccomp: &seccomp.Program{Filter: []seccomp.Instruction{{}}},
	}
	const setUp = `map the page
make a new session
open /proc/self/oom_score_adj
process.oomScoreAdj: set 5
process.rlimits[0]: raise the hard limit
join the session keyring
describe it
know the permissions of the session keyring
make the session keyring searchable
bring up lo: make a socket
bring up lo
hostname: set "h"
give modes as they are to be
linux.rootfsPropagation: cut the mounts off from the host's
open the bundle
open root.path /b/rootfs
clone the root filesystem
set the propagation of root.path
attach the root filesystem
procfs of its own: fsopen proc
procfs of its own: create it
procfs of its own: fsmount
mounts[0] (/proc): destination
mounts[0] (/proc): destination: make /proc
mounts[0] (/proc): destination: open /proc
mounts[0] (/proc): make the filesystem: fsopen proc
mounts[0] (/proc): make the filesystem: create it
mounts[0] (/proc): make the filesystem: fsmount
mounts[0] (/proc): move_mount
mounts[1] (/d/e): open source /s
mounts[1] (/d/e): mount_setattr
mounts[1] (/d/e): destination
mounts[1] (/d/e): destination: open /d
mounts[1] (/d/e): destination: make /d
mounts[1] (/d/e): destination: open /d
mounts[1] (/d/e): destination: make /d/e
note that it is made
mounts[1] (/d/e): destination: open /d
mounts[1] (/d/e): destination: make /d
mounts[1] (/d/e): destination: open /d
mounts[1] (/d/e): destination: make /d/e
mounts[1] (/d/e): destination: open /d/e
mounts[1] (/d/e): move_mount
mounts[1] (/d/e): set propagation
mounts[2] (/dev): destination
mounts[2] (/dev): destination: make /dev
mounts[2] (/dev): destination: open /dev
mounts[2] (/dev): make the filesystem: fsopen tmpfs
mounts[2] (/dev): make the filesystem: create it
mounts[2] (/dev): make the filesystem: fsmount
mounts[2] (/dev): move_mount
/dev: open /dev
/dev: make /dev
/dev: open /dev
default device (/dev/null): mknod
default device (/dev/null): the new node is another
default device (/dev/null): the new node has another mode
default device (/dev/null): the new node has another owner
default device (/dev/null): a file is there already
symlink /dev/fd
symlink /dev/stdin
symlink /dev/stdout
symlink /dev/stderr
look for /proc/kcore
symlink /dev/core
symlink /dev/ptmx
remove /dev/ptmx
symlink /dev/ptmx
open the old root
go to the container's root
pivot_root
go to the old root
take the old root away
go to the new root
look for process.cwd /srv
process.cwd /srv: make /srv
process.cwd /srv: open /srv
open the container's /dev/null
the container's /dev/null is another device
open the container's /dev/null
the container's /dev/null is another device
let it block
make it a standard stream
linux.sysctl.a.b: open /proc/sys/a/b
linux.sysctl.a.b: write /proc/sys/a/b
mounts[2] (/dev): make it read-only
root.readonly
linux.readonlyPaths (/proc/sys)
linux.readonlyPaths (/proc/sys): open_tree
linux.readonlyPaths (/proc/sys): mount_setattr
linux.readonlyPaths (/proc/sys): move_mount
linux.maskedPaths (/proc/keys)
linux.maskedPaths (/proc/keys): the container's /dev/null
linux.maskedPaths (/proc/keys): the container's /dev/null is another device
linux.maskedPaths (/proc/keys): open_tree
linux.maskedPaths (/proc/keys): move_mount
linux.maskedPaths (/proc/keys): open_tree
linux.maskedPaths (/proc/keys): move_mount
linux.maskedPaths (/proc/keys): fsopen tmpfs
linux.maskedPaths (/proc/keys): fsconfig source=tmpfs
linux.maskedPaths (/proc/keys): fsconfig ro
linux.maskedPaths (/proc/keys): fsconfig nr_blocks=1
linux.maskedPaths (/proc/keys): fsconfig nr_inodes=1
linux.maskedPaths (/proc/keys): fsconfig mode=755
linux.maskedPaths (/proc/keys): create it
linux.maskedPaths (/proc/keys): fsmount
linux.maskedPaths (/proc/keys): move_mount
give a standard stream to the user
open the exec attribute of AppArmor
set the AppArmor profile prof
set the umask
open the working directory
enter the working directory
drop a capability from the bounding set
keep the capabilities
process.user.additionalGids: set the groups
process.user.gid: set gid 0
process.user.uid: set uid 7
stop keeping the capabilities
set the capabilities
clear the ambient capabilities
open the working directory
enter the working directory
get the working directory
stay in the container's root
process.noNewPrivileges
look for /bin/prog
ask whether /bin/prog may be executed
take /bin/prog
note /bin/prog
remember that it may not be executed
find a program that may be executed
find the program
process.rlimits[0]: set soft 0, hard 2
stay undumpable
`
	// A step between the last two of these would be under the filter.
	const launch = `restore the signal mask
say that the program is executed
load the seccomp filter
execute the program
end
fail`
	const told = "tell gourd that the container is set up\n"
	const wait = `close what is not needed any more
wait until the container is recorded
end the conversation
wait for start or a signal
wait for start
ask who is there
turn it away
give it the page
let nobody else in
`
	facts := StraightFacts{Page: 20, Lock: 21, Gate: -1, SignalFD: -1, Console: -1, Null: []int{0}, Own: []int{1}, Limits: []unix.Rlimit{{Max: 1}}}
	run := &StraightInit{Init: in, Facts: facts}
	if got, want := straightSteps(t, run), setUp+told+"wait until the container is recorded\n"+launch; got != want {
		t.Errorf("run:\n%s\nwant:\n%s", got, want)
	}
	in.Waits = true
	facts.Gate, facts.SignalFD, facts.Signals = 22, 23, 1<<(unix.SIGTERM-1)
	create := &StraightInit{Init: in, Facts: facts}
	if got, want := straightSteps(t, create), setUp+"take the name\n"+told+wait+launch+"\ntake the signal\nend"; got != want {
		t.Errorf("create:\n%s\nwant:\n%s", got, want)
	}
}

// TestStraightHooks: the runtime's hooks see the mounts, and the host's root.
func TestStraightHooks(t *testing.T) {
	in := &Init{HookSync: true, Credentials: credentials.Plan{Args: []string{"/p"}, Cwd: "/"}}
	in.Rootfs.Mounts = []rootfs.Mount{{Where: "mounts[0]", Type: "proc", Destination: "/proc"}}
	got := straightSteps(t, &StraightInit{Init: in, Facts: StraightFacts{Gate: -1, SignalFD: -1, Console: -1}})
	const want = "mounts[0] (/proc): move_mount\ntell gourd that the mounts are made\nwait for the runtime's hooks\nopen the old root\n"
	if !strings.Contains(got, want) {
		t.Errorf("the steps are\n%s\nwithout\n%s", got, want)
	}
}

// TestStraightExplain is the words for what fails when init cannot tell: its own.
func TestStraightExplain(t *testing.T) {
	for _, tt := range []struct {
		args0, why string
		errno      unix.Errno
		want       string
	}{
		{"prog", "find the program", unix.EBADF, `exec: "prog": executable file not found in $PATH`},
		{"prog", "find a program that may be executed", unix.EBADF, `exec: "prog": permission denied`},
		{"/a/prog", "look for /a/prog", unix.ENOENT, `exec: "/a/prog": stat /a/prog: no such file or directory`},
		{"/a/prog", "look for /a/prog", unix.ELOOP, `exec: "/a/prog": too many levels of symbolic links (a loop, or a link of /proc that leads elsewhere)`},
		{"/a/prog", "find a file and no directory that is /a/prog", unix.EBADF, `exec: "/a/prog": is a directory`},
		{"/a/prog", "find a file that is /a/prog", unix.EBADF, `exec: "/a/prog": permission denied`},
		{"/a/prog", "ask whether /a/prog may be executed", unix.EACCES, `exec: "/a/prog": permission denied`},
		{"p", "open the working directory", unix.ENOTDIR, `process.cwd: change to "/srv": it is no directory`},
		{"p", "stay in the container's root", unix.EBADF, `process.cwd: change to "/srv": invalid cross-device link`},
		{"p", "linux.sysctl.a.b: open /proc/sys/a/b", unix.ENOENT, "linux.sysctl.a.b: this kernel has no /proc/sys/a/b, or not in the container's namespaces"},
		{"p", "linux.sysctl.a.b: write /proc/sys/a/b", unix.EINVAL, `linux.sysctl.a.b: write "1" to /proc/sys/a/b: invalid argument`},
		{"p", "set the AppArmor profile prof", unix.ENOENT, `process.apparmorProfile: set "prof": no such file or directory (the profile is not loaded)`},
		{"p", "root.readonly", unix.EPERM, "root.readonly: operation not permitted"},
	} {
		in := &Init{Credentials: credentials.Plan{Args: []string{tt.args0}, Cwd: "/srv", AppArmorProfile: "prof"}}
		in.Rootfs.Sysctls, in.Rootfs.Readonly = []rootfs.Sysctl{{Name: "a.b", File: "sys/a/b", Value: "1"}}, true
		s := &StraightInit{Init: in, Facts: StraightFacts{Gate: -1, SignalFD: -1, Console: -1}}
		if steps := straightSteps(t, s); !slices.Contains(strings.Split(steps, "\n"), tt.why) {
			t.Errorf("there is no step %q in\n%s", tt.why, steps)
		}
		if got := s.Explain(tt.why, tt.errno); got.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.why, got, tt.want)
		}
	}
}

// TestStraightConsole: the terminal is made while the root can be written to, and
// handed over when all else is done.
func TestStraightConsole(t *testing.T) {
	in := &Init{Terminal: true, ConsoleWidth: 80, ConsoleHeight: 25, Credentials: credentials.Plan{Args: []string{"/p"}, Cwd: "/", UID: 1}}
	in.Rootfs.Readonly = true
	got := straightSteps(t, &StraightInit{Init: in, Facts: StraightFacts{Gate: -1, SignalFD: -1, Console: 9}})
	const console = `console: open /dev/pts
look at its filesystem
console: /dev/pts is not a devpts
console: /dev/pts is not the root of a devpts
console: open /dev/pts/ptmx
console: /dev/pts/ptmx is another file
console: /dev/pts/ptmx is another device
console: unlock the terminal
console: open the other end
console: set its size
console: open /dev
console: open /dev/console
console: make /dev/console
note that it is made
console: /dev/console is a symlink
console: /dev/console: open_tree
console: /dev/console: move_mount
make the terminal the controlling one
make the terminal a standard stream
root.readonly
give a standard stream to the user
`
	for _, want := range []string{console, "stay undumpable\nconsole socket: send the terminal\ntell gourd that the container is set up\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the steps are\n%s\nwithout\n%s", got, want)
		}
	}
}

// TestStraightMade is what is read of what the child has made: what is on the
// host.
func TestStraightMade(t *testing.T) {
	in := &Init{
		Rootfs: rootfs.Plan{
			Rootfs: "/r", Cwd: "/w", SetupDev: true,
			Mounts: []rootfs.Mount{
				{Where: "mounts[0]", Kind: rootfs.Bind, Source: "/s", Destination: "/v"},
				{Where: "mounts[1]", Kind: rootfs.Bind, Source: "/s2", Destination: "/v/a/b"},
				{Where: "mounts[2]", Type: "tmpfs", OwnMode: true, Destination: "/t"},
				{Where: "mounts[3]", Type: "proc", Destination: "/t/p"},
			},
		},
		Credentials: credentials.Plan{Args: []string{"/p"}, Cwd: "/"},
	}
	s := &StraightInit{Init: in, Facts: StraightFacts{Gate: -1, SignalFD: -1, Console: -1}}
	page := append(make([]byte, notify.PageSize), s.Behind()...)
	straightSteps(t, s)
	if made, err := s.Made(bytes.NewReader(page)); err != nil || made != nil {
		t.Errorf("nothing has been made, but: %v, %v", made, err)
	}
	if len(page) < notify.PageSize+8*len(s.made) {
		t.Fatalf("%d files may be made, and the page has %d bytes", len(s.made), len(page))
	}
	want := []rootfs.Made{{Path: "/v"}, {On: "/s", Path: "/a/b"}, {Path: "/t"}, {Path: "/dev/fd"}, {Path: "/w"}}
	for i, m := range s.made {
		if slices.Contains(want, m) {
			binary.NativeEndian.PutUint64(page[notify.PageSize+8*i:], 0)
		}
		if strings.HasPrefix(m.Path, "/t/") {
			t.Errorf("%v goes with its filesystem", m)
		}
	}
	n := len(s.made)
	if straightSteps(t, s); len(s.made) != n {
		t.Errorf("a second table has %d files that may be made, after %d", len(s.made), n)
	}
	made, err := s.Made(bytes.NewReader(page))
	slices.SortFunc(made, func(a, b rootfs.Made) int { return strings.Compare(a.On+a.Path, b.On+b.Path) })
	slices.SortFunc(want, func(a, b rootfs.Made) int { return strings.Compare(a.On+a.Path, b.On+b.Path) })
	if made = slices.Compact(made); err != nil || !reflect.DeepEqual(made, want) {
		t.Errorf("made: %v, %v; want %v", made, err, want)
	}
}

// TestStraightTrace is what is read of a trace: what has begun.
func TestStraightTrace(t *testing.T) {
	in := &Init{Credentials: credentials.Plan{Args: []string{"/p"}, Cwd: "/"}}
	s := &StraightInit{Init: in, Facts: StraightFacts{Gate: -1, SignalFD: -1, Console: -1, Traced: true}}
	page := append(make([]byte, notify.PageSize), s.Behind()...)
	straightSteps(t, s)
	if n := len(s.spans); n > s.mostSpans() {
		t.Fatalf("there are %d steps, and room for %d", n, s.mostSpans())
	}
	times := page[s.spansAt():]
	put := func(n int, v uint64) { binary.NativeEndian.PutUint64(times[8*n:], v) }
	put(0, 1)
	put(1, 500)
	put(2, 2)
	put(3, 700)
	put(4, 3) // has not ended
	got, err := s.Steps(bytes.NewReader(page))
	want := []trace.Event{{Name: "set the container up", Start: 1e9 + 500, Took: 1e9 + 200}, {Name: "set what needs the host's /proc", Start: 3e9}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	off := &StraightInit{Init: in, Facts: StraightFacts{Gate: -1, SignalFD: -1, Console: -1}}
	if straightSteps(t, off); len(off.spans) > 0 {
		t.Error("what is not traced notes times")
	}
}
