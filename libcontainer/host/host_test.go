package host

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUserNamespaceOfAllIDs: a user namespace is not the initial one, also where
// its maps are those of that.
func TestUserNamespaceOfAllIDs(t *testing.T) {
	const inside = "GOURD_TEST_USERNS"
	if os.Getenv(inside) != "" {
		f, err := Probe()
		if err != nil {
			t.Fatal(err)
		}
		if f.InitialUserNS || !f.Rootless() {
			t.Errorf("in a user namespace the facts are %+v", f)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: it maps all ids")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	all := []syscall.SysProcIDMap{{Size: 1<<32 - 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in the user namespace: %v\n%s", err, out)
	}
}
