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
		if err := r.writeSysctl(&r.plan.Sysctls[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Root) writeSysctl(s *Sysctl) error {
	fd, err := linux.OpenBeneath(r.proc, s.File, unix.O_WRONLY)
	if err == unix.EACCES && s.File == "sys/kernel/domainname" {
		// The file is host root's in a user namespace, too, and the name not.
		if err := unix.Setdomainname([]byte(s.Value)); err != nil {
			return s.WriteError(err)
		}
		return nil
	}
	if err != nil {
		return s.OpenError(err)
	}
	defer unix.Close(fd)
	// A sysctl takes its value in one write.
	if _, err := unix.Write(fd, []byte(s.Value)); err != nil {
		return s.WriteError(err)
	}
	return nil
}

// OpenError is the error of who cannot open the file of the sysctl.
func (s *Sysctl) OpenError(err error) error {
	switch err {
	case unix.ENOENT:
		err = linux.Worded(unix.ENOENT, "this kernel has no /proc/"+s.File+", or not in the container's namespaces")
	case unix.EACCES:
		err = fmt.Errorf("open /proc/%s: %w (the kernel lets it be written in the host's namespaces only)", s.File, err)
	default:
		err = fmt.Errorf("open /proc/%s: %w", s.File, err)
	}
	return fmt.Errorf("linux.sysctl.%s: %w", s.Name, err)
}

// WriteError is the error of who cannot write it.
func (s *Sysctl) WriteError(err error) error {
	return fmt.Errorf("linux.sysctl.%s: write %q to /proc/%s: %w", s.Name, s.Value, s.File, err)
}
