package rootfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// WriteSysctls writes linux.sysctl through the procfs that Open made for it,
// never through the container's /proc, which an image or a mount could make
// lead elsewhere (CVE-2025-52881). It comes after the runtime's hooks, which
// set up the network that some of them are about.
func (r *Root) WriteSysctls() error {
	defer trace.Begin("write the sysctls").End()
	for i := range r.plan.Sysctls {
		s := &r.plan.Sysctls[i]
		if err := r.writeSysctl(s); err != nil {
			return fmt.Errorf("linux.sysctl.%s: %w", s.Name, err)
		}
	}
	return nil
}

func (r *Root) writeSysctl(s *Sysctl) error {
	fd, err := linux.OpenBeneath(r.proc, s.File, unix.O_WRONLY)
	if err == unix.ENOENT {
		return linux.Worded(unix.ENOENT, "this kernel has no /proc/"+s.File+", or not in the container's namespaces")
	}
	if err != nil {
		return fmt.Errorf("open /proc/%s: %w", s.File, err)
	}
	defer unix.Close(fd)
	// A sysctl takes its value in one write.
	if _, err := unix.Write(fd, []byte(s.Value)); err != nil {
		return fmt.Errorf("write %q to /proc/%s: %w", s.Value, s.File, err)
	}
	return nil
}
