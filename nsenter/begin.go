package nsenter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Running is a child of Begin, which works on the steps of its Request.Finish.
// It ends by its own execve, or by being given up; whoever has it reaps it.
type Running struct {
	Child
	c *conversation
}

// Begin is Start for a child that has much to do by steps of Request.Finish and
// with whom the parent speaks meanwhile, while it does things of its own: it
// returns as soon as the child does not need it any more. No second child may be
// needed.
//
// A child that nobody talks to any more ends at its next Tail.Await.
func Begin(r Request) (*Running, error) {
	defer trace.Begin("start the raw child").End()
	if r.Finish == nil || r.Ready != nil {
		return nil, errors.New("a child that is left to itself has steps of its own, and nobody who is told that they begin")
	}
	c, err := spawnFor(&r)
	if err != nil {
		return nil, err
	}
	if c.p.nested {
		err = errors.New("a second child is needed for these namespaces, and cannot be left to itself")
	} else if c.p.waits {
		err = c.prepare()
	}
	if err == nil && c.pidfd < 0 {
		err = c.openPidfd()
	}
	if err != nil {
		c.closeSocket()
		c.bury()
		return nil, err
	}
	return &Running{Child{c.pid, os.NewFile(uintptr(c.pidfd), "pidfd")}, c}, nil
}

// Await waits until the child says by Tail.Say that it has come so far. A step that
// has failed is a *StepError; the end of the conversation is io.EOF: the child
// has executed its program, or has ended.
func (r *Running) Await() error {
	index, value, ok, err := r.c.receive()
	runtime.KeepAlive(r.c.image) // the child may have worked on it until now
	if err != nil {
		return err
	}
	if !ok {
		return io.EOF
	}
	s := r.c.p.step(index)
	switch {
	case s == nil:
		return fmt.Errorf("the child speaks of a step %d, which does not exist", index)
	case value < 0:
		return stepError(s, value)
	case s.Says != SaysOwn:
		return fmt.Errorf("the child speaks out of turn: %s", s.Why)
	}
	return nil
}

// Go ends a Tail.Await of the child. If it has ended Await will tell.
func (r *Running) Go() error { return r.c.goOn() }

// Leave ends the conversation. The child goes on, with what it was told before.
func (r *Running) Leave() { r.c.closeSocket() }
