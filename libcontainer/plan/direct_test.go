package plan

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

// directSteps returns what the table of a direct exec does, a line for each
// system call, repetitions once.
func directSteps(e *Exec, f DirectFiles) string {
	t := &nsenter.Tail{Table: &nsenter.Table{}}
	e.AppendSteps(t, f)
	var lines []string
	for _, s := range t.Steps {
		if s.Kind != nsenter.Jump && (len(lines) == 0 || lines[len(lines)-1] != s.Why) {
			lines = append(lines, s.Why)
		}
	}
	return strings.Join(lines, "\n")
}

// TestDirectOrder holds the order of a direct exec, which is the point of it.
func TestDirectOrder(t *testing.T) {
	const begin = "map the page\njoin the mount namespace\nopen the root directory\nmake a new session\n"
	const cwd = "open the working directory\nenter the working directory\n"
	const set = "set the umask\n" + cwd + "drop a capability from the bounding set\nkeep the capabilities\nprocess.user.additionalGids: set the groups\nprocess.user.gid: set gid 0\n" +
		"process.user.uid: set uid 0\nstop keeping the capabilities\nset the capabilities\nclear the ambient capabilities\n"
	const again = cwd + "get the working directory\nstay in the container's root\n"
	// A step between the last two of these would be under the filter.
	try := func(path, filter string) string {
		return "look for " + path + "\nask whether " + path + " may be executed\nsay that the program is executed\nrestore the signal mask\n" +
			filter + "execute " + path + "\n"
	}
	const filter = "load the seccomp filter\n"
	plain := credentials.Plan{Args: []string{"/bin/true"}, Cwd: "/", Capabilities: credentials.Capabilities{LastCap: 3}}
	for _, tt := range []struct {
		name string
		e    Exec
		f    DirectFiles
		want string
	}{
		{"plain", Exec{Credentials: plain}, DirectFiles{}, begin + set + again + try("/bin/true", "") + "find the program /bin/true"},
		{"full", Exec{
			Credentials: credentials.Plan{
				Args: []string{"prog"}, Cwd: "/srv", Env: []string{"PATH=/a:/b"}, Keyring: "_ses.c", AppArmorProfile: "prof",
				Scheduler: &credentials.Scheduler{}, IOPriority: &credentials.IOPriority{}, Personality: new(uint32), MemoryPolicy: &credentials.MemoryPolicy{Nodes: new(unix.CPUSet)},
				NoNewPrivileges: true, Rlimits: []credentials.Rlimit{{Resource: unix.RLIMIT_CORE}},
				Capabilities: credentials.Capabilities{LastCap: 3, Ambient: 2, Inheritable: 2, Permitted: 2, Bounding: 2},
			},
			Seccomp: &seccomp.Program{Filter: []seccomp.Instruction{{}}},
			CPUs:    new(unix.CPUSet),
		}, DirectFiles{Own: []int{1}},
			"join the session keyring\nset the CPUs to run on\nopen the exec attribute of AppArmor\nset the AppArmor profile prof\n" +
				begin + "give a standard stream to the user\nprocess.scheduler: set policy 0, flags 0x0, nice 0, priority 0\n" +
				"process.ioPriority: set class 0, priority 0\nlinux.personality: set 0x0\nlinux.memoryPolicy: set mode 0x0\n" +
				set + "raise an ambient capability\n" + again + "process.noNewPrivileges\nprocess.rlimits[0]: set soft 0, hard 0\n" +
				try("/a/prog", filter) + try("/b/prog", filter) + "find the program prog"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := directSteps(&tt.e, tt.f); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestDirect(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    Exec
		want bool
	}{
		{"plain", Exec{}, true},
		{"a filter", Exec{Seccomp: &seccomp.Program{}}, true},
		{"a terminal", Exec{Terminal: true}, false},
		{"a listener", Exec{Seccomp: &seccomp.Program{Notify: true}}, false},
		{"a label for the keyring too", Exec{Credentials: credentials.Plan{SELinuxLabel: "l"}}, false},
		{"inheritable beyond the bounding set", Exec{Credentials: credentials.Plan{Capabilities: credentials.Capabilities{Inheritable: 1}}}, false},
	} {
		if got := tt.e.Direct(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestReadDirect(t *testing.T) {
	page := make([]byte, PageWords)
	if begun, errno := ReadDirect(page); begun || errno != 0 {
		t.Errorf("an empty page: %v, %v", begun, errno)
	}
	page[pageBegun] = 1
	if begun, errno := ReadDirect(page); !begun || errno != 0 {
		t.Errorf("a program that is executed: %v, %v", begun, errno)
	}
	for i := range 8 {
		page[pageError+i] = 0xff
	}
	page[pageError] = 0xfe // -2
	if begun, errno := ReadDirect(page); !begun || errno != unix.ENOENT {
		t.Errorf("a failed execve: %v, %v", begun, errno)
	}
}
