package libcontainer

import (
	"testing"

	"github.com/gourd-oci/gourd/libcontainer/rootfs"
)

// TestBringsPrograms: only where no mount may hold the program is its absence
// from the root filesystem a defect.
func TestBringsPrograms(t *testing.T) {
	for dest, want := range map[string]bool{
		"/proc": false, "/dev/pts": false, "/etc/hosts": false, "/run/secrets": false, "/sys/fs/cgroup": false,
		"/usr": true, "/bin/tool": true, "/procx": true, "/opt": true, "/tmp": true,
	} {
		if got := bringsPrograms([]rootfs.Mount{{Destination: dest}}); got != want {
			t.Errorf("%s: %v", dest, got)
		}
	}
}
