package landlock

import (
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

const (
	allFiles = readAccess | writeAccess | executeAccess
	ioctl    = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	truncate = unix.LANDLOCK_ACCESS_FS_TRUNCATE
	refer    = unix.LANDLOCK_ACCESS_FS_REFER
)

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rules  Rules
		kernel int
		want   Plan
	}{
		{"paths", Rules{ReadOnly: []string{"/etc/../usr"}, ReadWrite: []string{"/tmp"}, Execute: []string{"/bin"}}, 7, Plan{FS: allFiles, Paths: []Path{
			{"a.readOnly[0]", "/etc/../usr", readAccess}, {"a.readWrite[0]", "/tmp", readAccess | writeAccess}, {"a.execute[0]", "/bin", readAccess | executeAccess},
		}}},
		{"an empty list restricts", Rules{ReadOnly: []string{}}, 5, Plan{FS: allFiles}},
		{"by an older ABI on a new kernel", Rules{ABI: new(2), ReadWrite: []string{"/"}}, 7, Plan{FS: allFiles &^ (ioctl | truncate), Paths: []Path{
			{"a.readWrite[0]", "/", (readAccess | writeAccess) &^ (ioctl | truncate)},
		}}},
		{"by the first ABI, which moves nothing between directories", Rules{ABI: new(1), ReadWrite: []string{"/"}}, 1, Plan{FS: allFiles &^ (ioctl | truncate | refer), Paths: []Path{
			{"a.readWrite[0]", "/", (readAccess | writeAccess) &^ (ioctl | truncate | refer)},
		}}},
		{"ABI 4 has no right of its own", Rules{ABI: new(4), ReadOnly: []string{}}, 3, Plan{FS: allFiles &^ ioctl}},
		{"ports", Rules{BindTCP: []uint16{80, 443}, ConnectTCP: []uint16{}}, 4, Plan{Net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, Ports: []Port{
			{"a.bindTCP[0]", 80, unix.LANDLOCK_ACCESS_NET_BIND_TCP}, {"a.bindTCP[1]", 443, unix.LANDLOCK_ACCESS_NET_BIND_TCP},
		}}},
		{"one of the two alone", Rules{ConnectTCP: []uint16{53}}, 4, Plan{Net: unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, Ports: []Port{
			{"a.connectTCP[0]", 53, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
		}}},
		{"scopes", Rules{Scope: []string{"signal", "abstractUnixSocket"}}, 6, Plan{Scoped: unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			got := Compile(&tt.rules, tt.kernel, "a", &d)
			if len(d) > 0 || got == nil || !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got %+v %v, want %+v", got, d, tt.want)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rules  Rules
		kernel int
		want   string // the path of the defect
	}{
		{"nothing", Rules{}, 7, "a"},
		{"nothing but an ABI", Rules{ABI: new(3)}, 7, "a"},
		{"an empty scope", Rules{Scope: []string{}}, 7, "a"},
		{"no such ABI", Rules{ABI: new(0), ReadOnly: []string{"/"}}, 7, "a.abi"},
		{"one that gourd does not know", Rules{ABI: new(MaxABI + 1), ReadOnly: []string{"/"}}, 9, "a.abi"},
		{"a kernel without", Rules{ReadOnly: []string{"/"}}, 0, "a.readOnly"},
		{"a kernel that could restrict only some of it", Rules{Execute: []string{"/"}}, 4, "a.execute"},
		{"a kernel older than the ABI", Rules{ABI: new(3), ReadOnly: []string{"/"}}, 2, "a.readOnly"},
		{"a kernel without ports", Rules{BindTCP: []uint16{80}}, 3, "a.bindTCP"},
		{"a kernel without scopes", Rules{Scope: []string{"signal"}}, 5, "a.scope"},
		{"rules newer than their ABI", Rules{ABI: new(3), ConnectTCP: []uint16{80}}, 7, "a.connectTCP"},
		{"a relative path", Rules{ReadOnly: []string{"/", "etc"}}, 7, "a.readOnly[1]"},
		{"an empty path", Rules{ReadWrite: []string{""}}, 7, "a.readWrite[0]"},
		{"a NUL byte", Rules{ReadWrite: []string{"/a\x00"}}, 7, "a.readWrite[0]"},
		{"no such scope", Rules{Scope: []string{"signal", "udp"}}, 7, "a.scope[1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			Compile(&tt.rules, tt.kernel, "a", &d)
			if len(d) != 1 || d[0].Path != tt.want {
				t.Errorf("got %v, want one at %s", d, tt.want)
			}
		})
	}
}

// TestTheKernelTakesEveryABI: the rights of each ABI are those that a kernel of
// it knows, for one that did not would refuse them.
func TestTheKernelTakesEveryABI(t *testing.T) {
	kernel := linux.LandlockABI()
	if kernel == 0 {
		t.Skip("no Landlock here")
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	for abi := 1; abi <= min(kernel, MaxABI); abi++ {
		r := Rules{ABI: &abi, ReadOnly: []string{"/", "/proc/self/status"}, ReadWrite: []string{"/dev", "/dev/null"}, Execute: []string{"/bin"}}
		if abi >= 4 {
			r.BindTCP, r.ConnectTCP = []uint16{80}, []uint16{}
		}
		if abi >= 6 {
			r.Scope = []string{"abstractUnixSocket", "signal"}
		}
		var d defect.List
		p := Compile(&r, kernel, "a", &d)
		if len(d) > 0 {
			t.Fatal(d)
		}
		fd, err := p.Ruleset(root)
		if err != nil {
			t.Fatalf("ABI %d: %v", abi, err)
		}
		unix.Close(fd)
	}
}
