package libcontainer

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/notify"
)

// askSELinux asks the kernel about the labels of a config.
func askSELinux(f *host.Facts, s *specs.Spec) {
	if s.Process != nil {
		f.AskSELinux(s.Process.SelinuxLabel)
	}
	if s.Linux != nil {
		f.AskSELinux(s.Linux.MountLabel)
	}
}

// explainLabel adds to the error of an execve what SELinux may have to do with
// it. The kernel changes to the process's label in the execve, and where the
// policy is against it says no more than EPERM or EACCES.
func explainLabel(err error, label string, noNewPrivileges bool) error {
	var failure *notify.Error
	if label == "" || !errors.As(err, &failure) || failure.Step != notify.StepExec {
		return err
	}
	switch {
	case failure.Errno == unix.EPERM && noNewPrivileges:
		return fmt.Errorf("%w: with process.noNewPrivileges SELinux's policy has to give gourd's own label the permission nnp_transition (class process2) on process.selinuxLabel %q", err, label)
	case failure.Errno == unix.EACCES:
		return fmt.Errorf("%w: SELinux's policy may not let it be executed with process.selinuxLabel %q (the audit log tells; a file's own label, and a mount with nosuid, matter too)", err, label)
	}
	return err
}

// explainStart is explain for the container's own process.
func (c *Container) explainStart(err error) error {
	if k, kerr := c.loadForExec(); kerr == nil {
		err = explainLabel(err, k.Process.SelinuxLabel, k.Process.NoNewPrivileges)
	}
	return c.explain(err)
}

// explainExec is explain for the process of an exec.
func (c *Container) explainExec(err error, p *credentials.Plan) error {
	return c.explain(explainLabel(err, p.SELinuxLabel, p.NoNewPrivileges))
}
