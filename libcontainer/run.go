package libcontainer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/nsenter"
)

// RunOptions is what the command line says of a run.
type RunOptions struct {
	CreateOptions
	// Detach returns when the program has been executed, Keep does not delete
	// the container at its end, NoSubreaper leaves orphans of the container
	// to the caller's reaper.
	Detach, Keep, NoSubreaper bool
}

// Run creates and starts a container. In the foreground it stays: it forwards
// signals and the terminal, and returns the container's exit code when it has
// ended and been deleted. Detached, it returns 0 at once.
func Run(o RunOptions) (code int, err error) {
	s, err := o.prepare()
	if err != nil {
		return -1, err
	}
	defer s.close()
	c, err := create(&o.CreateOptions, s.take)
	if err != nil {
		return -1, err
	}
	defer c.Close()
	return s.attend(c, c.release)
}

// release lets init go on to the user's program.
func (n *newborn) release(log *slog.Logger) error {
	if n.straight == nil {
		return n.Container.release(log)
	}
	return n.start(log, n.straight.release)
}

// stage is what a run, or a restore, has before there is a container.
type stage struct {
	o       *RunOptions
	log     *slog.Logger
	tty     *relay
	take    func() (*os.File, error) // see create
	signals *catcher
}

// prepare makes it; it must be closed.
func (o *RunOptions) prepare() (*stage, error) {
	s := &stage{o: o, log: discard(o.Log)}
	if o.Detach {
		return s, nil
	}
	if !o.NoSubreaper {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("become the container's reaper: %w", err)
		}
	}
	s.take = func() (_ *os.File, err error) {
		if s.tty, err = openRelay(); err != nil {
			return nil, err
		}
		return s.tty.inits, nil
	}
	s.signals = catch() // from here on a signal is the container's
	return s, nil
}

// close gives our terminal its settings back.
func (s *stage) close() { s.tty.close() }

// attend starts a container by release, if that is not nil, and in the
// foreground stays with it until it has ended.
func (s *stage) attend(c *newborn, release func(*slog.Logger) error) (code int, err error) {
	o, log, tty := s.o, s.log, s.tty
	if !o.Detach && !o.Keep {
		defer func() { err = errors.Join(err, c.deleteAfterRun(log)) }()
	}
	s.signals.ready() // a change of the window's size is told from here on
	if err := tty.start(); err != nil {
		return -1, c.abandon(err, o.Detach || o.Keep, log)
	}
	if release != nil {
		if err := release(log); err != nil {
			return -1, c.abandon(err, o.Detach || o.Keep, log)
		}
	}
	if err := c.dir.Unlock(); err != nil { // it goes on for as long as it likes
		return -1, err
	}
	if o.Detach {
		return 0, nil
	}
	tty.listen()
	ws, err := forward(c.init, s.signals.C, tty)
	if err != nil {
		return -1, err
	}
	if !o.Keep {
		// What outlived init (without a pid namespace of its own) may hold
		// the terminal open for ever.
		if err := c.kill(); err != nil {
			return -1, err
		}
	}
	if !o.Keep || c.kept.PrivatePID {
		tty.drain()
	}
	return exitCode(ws), nil
}

// abandon removes a container that could not be started and whose deletion is
// not already due, and returns the error of the start.
func (n *newborn) abandon(start error, due bool, log *slog.Logger) error {
	if due {
		return errors.Join(start, n.deleteAfterRun(log))
	}
	return start
}

// deleteAfterRun deletes the container by force: a process may have outlived
// its init. One that a failing hook has removed already is no error.
func (n *newborn) deleteAfterRun(log *slog.Logger) error {
	return n.delete(DeleteOptions{Force: true, Log: log})
}

// forward passes signals on to a child, the container's init or the process of
// an exec, until it has ended, and returns how. As a reaper it also reaps what
// else the container leaves behind.
func forward(child *nsenter.Child, signals <-chan os.Signal, tty *relay) (unix.WaitStatus, error) {
	defer trace.Begin("wait for the process to end").End()
	type end struct {
		ws  unix.WaitStatus
		err error
	}
	ended := make(chan end, 1)
	go func() {
		for {
			var ws unix.WaitStatus
			pid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
			if err == unix.EINTR {
				continue
			}
			if err != nil || pid == child.PID {
				ended <- end{ws, err}
				return
			}
		}
	}()
	for {
		select {
		case e := <-ended:
			if e.err != nil {
				return 0, fmt.Errorf("wait for the container's process: %w", e.err)
			}
			return e.ws, nil
		case s := <-signals:
			switch sig := s.(unix.Signal); {
			case sig == unix.SIGWINCH && tty != nil:
				tty.resize()
			case forwarded(sig):
				if sig == unix.SIGCONT {
					tty.resume()
				}
				pass(child, sig)
			}
		}
	}
}

// pass sends a signal to a child; it may have ended by now.
func pass(child *nsenter.Child, sig unix.Signal) {
	_ = unix.PidfdSendSignal(int(child.PIDFD.Fd()), sig, nil, 0)
}
