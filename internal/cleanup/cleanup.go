// Package cleanup undoes the steps of an operation that failed half-way.
//
// A step that acquires something adds how to give it back; when the operation
// ends with an error, everything is given back in reverse order.
package cleanup

import (
	"errors"
	"fmt"
)

// Stack holds what has to be undone. The zero value is empty and ready.
type Stack struct{ undo []step }

type step struct {
	what string
	f    func() error
}

// Add pushes f, which undoes what; what completes the sentence "could not …",
// for example "remove the cgroup /gourd/web".
func (s *Stack) Add(what string, f func() error) {
	s.undo = append(s.undo, step{what, f})
}

// Release forgets everything: the operation has succeeded.
func (s *Stack) Release() { s.undo = nil }

// On is deferred by the operation with its named error. If *err is not nil it
// runs every step, newest first, and joins the failures of the undoing to it.
func (s *Stack) On(err *error) {
	if *err != nil {
		*err = errors.Join(*err, s.Run())
	}
}

// Run runs every step, newest first, and returns the joined failures.
func (s *Stack) Run() error {
	var errs []error
	for i := len(s.undo) - 1; i >= 0; i-- {
		if err := s.undo[i].f(); err != nil {
			errs = append(errs, fmt.Errorf("clean up: could not %s: %w", s.undo[i].what, err))
		}
	}
	s.undo = nil
	return errors.Join(errs...)
}
