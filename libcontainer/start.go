package libcontainer

import (
	"errors"
	"fmt"
	"log/slog"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/notify"
)

// Start releases the init of a created container and returns when its program
// has been executed; an execve that failed is Start's error.
func (c *Container) Start(log *slog.Logger) error {
	log = discard(log)
	if err := c.dir.Lock(); err != nil {
		return err
	}
	defer c.dir.Unlock()
	if err := c.load(); err != nil { // it may have changed while we waited
		return err
	}
	status, err := c.Status()
	if err != nil {
		return err
	}
	if status != state.Created {
		return fmt.Errorf("cannot start container %q: %w", c.rec.ID, notCreated(status))
	}
	return c.release(log)
}

// release lets the init of a container that has just been found, or made, to
// be created go on to the user's program. The lock is held.
func (c *Container) release(log *slog.Logger) error {
	return c.start(log, func() error {
		gate, err := notify.Start(c.dir.Path())
		if err != nil {
			return err
		}
		return gate.Wait()
	})
}

// start is release; let does it, and returns when the program has been executed.
func (c *Container) start(log *slog.Logger, let func() error) error {
	defer trace.Begin("release init").End()
	h := &c.kept.Hooks
	if err := runHooks("prestart", h.Prestart, c.hookState(), specs.StateCreated, c.rec.InitPID); err != nil {
		return c.giveUp(err, log)
	}
	if err := let(); err != nil {
		err = fmt.Errorf("start container %q: %w", c.rec.ID, c.explainStart(err))
		var failure *notify.Error
		if errors.As(err, &failure) && failure.Step == notify.StepHooks {
			return c.giveUp(err, log)
		}
		// Whoever asks after a failed start finds a stopped container.
		return errors.Join(err, c.awaitEnd())
	}
	if err := c.dir.AwaitGate(); err != nil { // who asks after start finds it running
		return err
	}
	if h.PoststartFatal {
		if err := runHooks("poststart", h.Poststart, c.hookState(), specs.StateRunning, c.rec.InitPID); err != nil {
			return c.giveUp(err, log)
		}
		return nil
	}
	for i := range h.Poststart { // "the remaining hooks and lifecycle continue as if the hook had succeeded"
		if err := runHooks("poststart", h.Poststart[i:i+1], c.hookState(), specs.StateRunning, c.rec.InitPID); err != nil {
			log.Warn(err.Error())
		}
	}
	return nil
}

// notCreated says why a container in this status cannot be started, in words
// that are known from runc.
func notCreated(status state.Status) error {
	switch status {
	case state.Stopped:
		return errors.New("cannot start a container that has stopped")
	case state.Creating:
		return errors.New("cannot start a container that is still being created")
	}
	return fmt.Errorf("cannot start an already running container (it is %s)", status)
}

// giveUp ends and removes the container after a hook has failed, as the spec's
// lifecycle wants, and returns the hook's error.
func (c *Container) giveUp(hook error, log *slog.Logger) error {
	if err := c.kill(); err != nil {
		log.Warn(err.Error())
	}
	if err := c.remove(log); err != nil {
		log.Warn(err.Error())
	}
	return hook
}
