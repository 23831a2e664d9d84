package nsenter

import "golang.org/x/sys/unix"

// StepError is a system call that failed in the child.
type StepError struct {
	Why   string     // what it was for: "join the network namespace /run/netns/a"
	Errno unix.Errno // what the kernel said
}

// Error returns "WHY: ERRNO'S TEXT".
func (e *StepError) Error() string { return e.Why + ": " + e.Errno.Error() }

// Unwrap returns the errno, for errors.Is.
func (e *StepError) Unwrap() error { return e.Errno }
