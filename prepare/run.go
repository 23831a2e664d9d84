package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/store"
)

// RunOptions are how a container is run.
type RunOptions struct {
	CreateOptions
	// Detach returns when the container runs.
	Detach bool
}

// Run makes a container and executes the runtime for it, and returns its name and
// its exit code, which is 0 if it goes on.
func (p *Preparer) Run(ctx context.Context, ref string, o RunOptions) (name string, code int, err error) {
	if p.Gourd == "" {
		return "", 0, errors.New("run: gourd was not found beside this program or in PATH")
	}
	if len(o.Names) == 0 {
		o.Names = []string{"gourd-" + store.NewContainerID()[:12]}
	}
	c, err := p.Create(ctx, ref, o.CreateOptions)
	if err != nil {
		return "", 0, err
	}
	args := []string{"run", "--bundle", p.Store.Bundle(c.ID)}
	if o.Detach {
		args = append(args, "--detach")
	}
	cmd := exec.Command(p.Gourd, append(args, c.Name)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The terminal sends its signals to both; gourd passes them on, and what
	// somebody else sends to this process is meant for the container, too.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return c.Name, 0, errors.Join(fmt.Errorf("run: %w", err), p.Remove(c.ID, true))
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may have ended just now
			continue
		case err = <-done:
		}
		break
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
		if ws, ok := exit.Sys().(interface{ Signaled() bool }); ok && ws.Signaled() {
			code = 1
		}
	}
	if err != nil || !o.Detach || code != 0 {
		return c.Name, code, errors.Join(err, p.afterRun(c.ID, c.Remove))
	}
	return c.Name, code, nil
}

// afterRun cleans up what the bundle's hook has not: the runtime may have
// failed before it came to that.
func (p *Preparer) afterRun(id string, remove bool) error {
	if remove {
		c, err := p.Store.FindContainer(id)
		if isNoContainer(err) {
			return nil // the hook has done it
		}
		if err != nil {
			return err
		}
		return p.Remove(c.ID, true)
	}
	m, err := p.Store.ReadMounts(id)
	if err != nil || m.Total() == 0 {
		return err
	}
	return p.Unmount(id, false)
}
