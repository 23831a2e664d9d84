package nsenter

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUserNamespace reads the maps of a namespace that nobody was in by
// joining it.
func TestUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it maps ids that are not its own")
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		t.Skip("needs nsenter(1) to join the namespace")
	}
	f, err := UserNamespace([]IDMap{{0, 1000, 5}, {7, 2000, 1}}, []IDMap{{3, 4000, 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWUSER {
		t.Fatalf("it is a namespace of the kind %#x (%v)", kind, err)
	}
	cmd := exec.Command(nsenter, "--preserve-credentials", "--user=/proc/self/fd/3", "cat", "/proc/self/uid_map", "/proc/self/gid_map")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(string(bytes.TrimSpace(out))), " "); got != "0 1000 5 7 2000 1 3 4000 2" {
		t.Errorf("the maps are %s", got)
	}
}

func TestUserNamespaceRefused(t *testing.T) {
	if _, err := UserNamespace(nil, []IDMap{{0, 0, 1}}); err == nil {
		t.Error("no uid map is accepted")
	}
	twice := []IDMap{{0, 1000, 5}, {2, 3000, 1}}
	if _, err := UserNamespace(twice, twice); err == nil {
		t.Error("a map that maps an id twice is accepted")
	}
}
