package credentials

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Early does what needs the host's /proc, and what init may do only while it
// has all of its privileges: the oom score, raising hard limits, the session
// keyring. It is called first, so that init itself is protected from, or
// exposed to, the out-of-memory killer as its container is.
func (p *Plan) Early() error {
	defer trace.Begin("set what needs the host's /proc").End()
	if err := p.SetOOMScoreAdj(0); err != nil {
		return err
	}
	if err := p.RaiseLimits(0); err != nil {
		return err
	}
	return p.joinKeyring()
}

// Apply turns the calling thread into the container's user, in a root
// directory that is the container's. The order is given by the kernel:
//
//  1. scheduling, while CAP_SYS_NICE is there;
//  2. the working directory a first time, for one that only init may enter;
//  3. inheritable capabilities, then the bounding set: both need CAP_SETPCAP,
//     and what is not in the second cannot come into the first;
//  4. groups and gid, then uid, with "keep capabilities" on, for setresuid
//     from 0 to another takes the permitted set away;
//  5. permitted and effective capabilities exactly as asked for, then ambient,
//     which must be permitted and inheritable and which setresuid clears;
//  6. the working directory again if need be, for one that only the user may
//     enter (a network filesystem that does not trust root), and a check that
//     it is in the root (CVE-2024-21626);
//  7. no_new_privs, which would have kept nothing of the above from happening,
//     but is to hold from here on.
//
// With KeepSysAdmin the thread keeps CAP_SYS_ADMIN, permitted and effective,
// for loading the seccomp filter and for the Landlock rules. The process does not get it: execve computes
// its permitted set from the inheritable, bounding and ambient ones.
func (p *Plan) Apply() error { return p.apply(0) }

// ApplyCarrying is Apply for an init that then calls Carry or PutDown.
func (p *Plan) ApplyCarrying() error { return p.apply(p.carried()) }

// apply makes some capabilities inheritable beyond the plan's.
func (p *Plan) apply(carried uint64) error {
	defer trace.Begin("set the credentials").End()
	if err := p.setScheduling(); err != nil {
		return err
	}
	unix.Umask(int(p.Umask))
	root, err := linux.OpenNoSymlinks(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the root directory: %w", err)
	}
	defer unix.Close(root)
	entered, err := p.chdir(root)
	if err != nil && err != unix.EACCES && err != unix.EPERM {
		return p.CwdError(err)
	}
	caps := p.Capabilities
	caps.Inheritable |= carried
	if err := caps.raiseInheritable(); err != nil {
		return err
	}
	if err := p.Capabilities.dropBounding(); err != nil {
		return err
	}
	if err := linux.Prctl(unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return fmt.Errorf("keep the capabilities over the change of user: %w", err)
	}
	if err := p.setIDs(); err != nil {
		return err
	}
	if err := linux.Prctl(unix.PR_SET_KEEPCAPS, 0, 0); err != nil {
		return fmt.Errorf("stop keeping the capabilities: %w", err)
	}
	if err := caps.set(p.extraCaps()); err != nil {
		return err
	}
	if !entered {
		if _, err := p.chdir(root); err != nil {
			return p.CwdError(err)
		}
	}
	if err := verifyCwd(); err != nil {
		return p.CwdError(err)
	}
	if p.NoNewPrivileges {
		if err := linux.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
			return fmt.Errorf("process.noNewPrivileges: %w", err)
		}
	}
	return nil
}

// chdir enters the working directory. It cannot leave the root, and it does
// not follow the magic links of procfs: /proc/self/fd/N could be a directory
// of the host that gourd has open (CVE-2024-21626). The error is an errno.
func (p *Plan) chdir(root int) (entered bool, err error) {
	fd, err := linux.OpenInRoot(root, p.Cwd, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if err := unix.Fchdir(fd); err != nil {
		return false, err
	}
	return true, nil
}

// CwdError is the error of who cannot enter the working directory.
func (p *Plan) CwdError(err error) error {
	switch err {
	case unix.ENOTDIR:
		err = linux.Worded(unix.ENOTDIR, "it is no directory")
	case unix.ELOOP:
		err = fmt.Errorf("%w (a loop of symlinks, or a link of /proc that leads elsewhere)", err)
	}
	return fmt.Errorf("process.cwd: change to %q: %w", p.Cwd, err)
}

// verifyCwd checks once more, by the kernel's own account, that the working
// directory is in the root of the mount namespace: it puts "(unreachable)"
// before the path of one that is not (getcwd(2)).
func verifyCwd() error {
	var buf [unix.PathMax]byte
	n, err := unix.Getcwd(buf[:])
	if err != nil {
		return fmt.Errorf("getcwd: %w", err)
	}
	if n == 0 || buf[0] != '/' {
		return fmt.Errorf("it is not in the container's root: %w", unix.EXDEV)
	}
	return nil
}
