package libcontainer

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/nsenter"
)

// execDirect brings the process up to its execve without a Go program inside:
// the raw child does all of it (plan.Exec.AppendSteps). If it fails there is no
// process, and no program of the user's has been executed.
func (c *Container) execDirect(o *ExecOptions, p *plan.ExecPlan, f *execFiles) (*nsenter.Child, error) {
	defer trace.Begin("execute directly").End()
	home, err := c.homeForExec(p, f)
	if err != nil {
		return nil, err
	}
	page, err := newPage()
	if err != nil {
		return nil, err
	}
	defer page.Close()
	files := plan.DirectFiles{
		MountNS: int(f.mountNS.Fd()), Page: int(page.Fd()), Home: home,
		Own: toOwn(p.Exec.Credentials.UID, p.Exec.Credentials.UserNS),
	}
	uses := []int{files.MountNS, files.Page}
	if p.Exec.Credentials.AppArmorProfile != "" {
		if files.Proc, err = linux.HostProc(); err != nil {
			return nil, err
		}
		defer unix.Close(files.Proc)
		uses = append(uses, files.Proc)
	}
	if f.root != nil {
		files.Root = int(f.root.Fd())
		uses = append(uses, files.Root)
	}
	child, err := c.join(o, p, f, nsenter.Request{
		Uses:   uses,
		Finish: func(t *nsenter.Tail) { p.Exec.AppendSteps(t, files) },
		Ready: func(child *nsenter.Child) error {
			cred := &p.Exec.Credentials
			if cred.FromOutside {
				if err := cred.SetScheduling(child.PID); err != nil {
					return err
				}
			}
			return errors.Join(cred.SetOOMScoreAdj(child.PID), cred.RaiseLimits(child.PID))
		},
	})
	if err != nil {
		return nil, err
	}
	var words [plan.PageWords]byte
	_, err = page.ReadAt(words[:], 0)
	begun, errno := plan.ReadDirect(words[:])
	switch {
	case err == nil && !begun:
		err = errors.New("the child died before it executed the program")
	case err == nil && errno != 0:
		err = fmt.Errorf("execute the program: %w", errno)
	}
	if err != nil {
		return nil, errors.Join(err, end(child), child.PIDFD.Close())
	}
	return child, nil
}

// homeForExec returns what HOME is to be; "" where the environment has it.
func (c *Container) homeForExec(p *plan.ExecPlan, f *execFiles) (home string, err error) {
	sure := false
	err = c.procOfInit(f.pidfd, func(proc string) error {
		root, err := unix.Open(proc+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the container's root: %w", err)
		}
		defer unix.Close(root)
		home, sure = p.Exec.Credentials.Home(root)
		return nil
	})
	if err == nil && !sure {
		err = errors.New("only the user can look for its home directory")
	}
	return home, err
}

// newPage makes the page that a direct exec stores its outcome in.
func newPage() (*os.File, error) {
	fd, err := unix.MemfdCreate("gourd-exec", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // MFD_NOEXEC_SEAL is of Linux 6.3
		fd, err = unix.MemfdCreate("gourd-exec", unix.MFD_CLOEXEC)
	}
	if err == nil {
		err = unix.Ftruncate(fd, int64(os.Getpagesize()))
	}
	if err != nil {
		return nil, fmt.Errorf("make the page of the exec: %w", err)
	}
	return os.NewFile(uintptr(fd), "page of the exec"), nil
}

// toOwn returns which of the standard streams become the user's, as
// initproc.OwnStdio has it.
func toOwn(uid uint32, userNS bool) (fds []int) {
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Uid == uid && !userNS || !initproc.Gives(fd, &st, false) {
			continue
		}
		fds = append(fds, fd)
	}
	return fds
}
