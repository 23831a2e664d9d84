// Package protocol is the conversation between the runtime and the init that
// it started: the messages, their legal order, and how they and the fds that
// go with them pass over a socket. What is in a plan it does not know; what a
// message sets in motion is up to its ends.
//
//	runtime (gourd create)                 init (gourd init)
//	     |                                      |
//	     |  Plan: what to set up, with fds      |
//	     |------------------------------------->|  namespaces are there; mounts
//	     |                                      |
//	     |             Open (if init may not)   |
//	     |<-------------------------------------|
//	     |  Opened: the source of a mount       |
//	     |------------------------------------->|
//	     |          Map (if ids are mapped)     |
//	     |<-------------------------------------|
//	     |  Mapped                              |
//	     |------------------------------------->|
//	     |                                      |
//	     |             Mounted (if hooks ask)   |
//	     |<-------------------------------------|
//	     |  prestart, createRuntime             |
//	     |  HooksDone                           |
//	     |------------------------------------->|  createContainer hooks, pivot_root,
//	     |                                      |  sysctls, console, credentials
//	     |                 Warning (any time)   |
//	     |<-------------------------------------|
//	     |                              Ready   |
//	     |<-------------------------------------|
//	     |  late limits; the record is saved    |  (executes the bare gate)
//	     |                 AtGate (if traced)   |
//	     |<-------------------------------------|
//	     |  Recorded                            |
//	     |------------------------------------->|  waits at the gate for `start`
//	     x                                      |
//
// An exec is shorter, for there is no gate; the page of package notify comes
// with Ready, and the end of the file after it tells the runtime to look there:
//
//	runtime (gourd exec)                   init (gourd init)
//	     |  Exec: what to set up, with fds      |
//	     |------------------------------------->|  joins the mount namespace, console,
//	     |                                      |  credentials
//	     |                 Warning (any time)   |
//	     |<-------------------------------------|
//	     |                    Ready, the page   |
//	     |<-------------------------------------|
//	     |  Go (if the plan says so)            |
//	     |------------------------------------->|  filter, execve
//	     |                         end of file  |
//	     |<-------------------------------------|
//
// Instead of any message of its own, init may send Failed and end. An end of
// file where a message is due means that the other side died; init then ends.
package protocol

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Kind tells the messages apart.
type Kind uint32

// The messages, in their order.
const (
	KindPlan      Kind = iota + 1 // runtime: the plan; fds as the plan says
	KindMounted                   // init: the mounts are made, run the runtime's hooks
	KindHooksDone                 // runtime: go on
	KindWarning                   // init: a text for the runtime's log
	KindReady                     // init: all that can fail has been done
	KindFailed                    // init: a Failure; it ends
	KindExec                      // runtime: the plan of an exec, in place of Plan
	KindGo                        // runtime: execute it, the terminal is connected
	KindOpen                      // init: a MountIndex; open its source, which I may not
	KindOpened                    // runtime: here it is, as an fd
	KindMap                       // init: a MountIndex and its tree; map the ids of that
	KindMapped                    // runtime: they are mapped
	KindRecorded                  // runtime: the container is recorded, its start may come
	KindAtGate                    // init: it has come to the gate, in the program that waits there
)

// String returns the message's name.
func (k Kind) String() string {
	switch k {
	case KindPlan:
		return "Plan"
	case KindMounted:
		return "Mounted"
	case KindHooksDone:
		return "HooksDone"
	case KindWarning:
		return "Warning"
	case KindReady:
		return "Ready"
	case KindFailed:
		return "Failed"
	case KindExec:
		return "Exec"
	case KindGo:
		return "Go"
	case KindOpen:
		return "Open"
	case KindOpened:
		return "Opened"
	case KindMap:
		return "Map"
	case KindMapped:
		return "Mapped"
	case KindRecorded:
		return "Recorded"
	case KindAtGate:
		return "AtGate"
	}
	return fmt.Sprintf("Kind(%d)", uint32(k))
}

// Warning is a text that init would have logged, if init logged.
type Warning struct{ Text string }

// MountIndex says which mount of the plan is meant; rootfs.RootSource is the
// root filesystem.
type MountIndex struct{ Mount int }

// Failure is an error on its way from init to the runtime. The errno survives:
// errors.Is(failure, unix.ENOENT) holds on the other side as it did on this.
type Failure struct {
	Text  string
	Errno uint32
	Made  []Made // what init has made on the host
	Steps []trace.Event
}

// Made is a rootfs.Made.
type Made struct{ On, Path string }

// Progress goes with Mounted and Ready: what init has made so far on the
// host, for the runtime to remove should something fail on its side; and
// its steps, if they are traced. With the Ready of an exec it is sent for those.
type Progress struct {
	Made  []Made
	Steps []trace.Event
}

// NewFailure returns err as a Failure.
func NewFailure(err error) *Failure {
	f := &Failure{Text: err.Error()}
	if errno, ok := errnoOf(err); ok {
		f.Errno = uint32(errno)
	}
	return f
}

// Error returns init's text.
func (f *Failure) Error() string { return f.Text }

// Unwrap returns the errno, or nil if there was none.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return unix.Errno(f.Errno)
}

// errnoOf finds the errno in err's tree, also behind joined errors.
func errnoOf(err error) (unix.Errno, bool) {
	switch e := err.(type) {
	case nil:
		return 0, false
	case unix.Errno:
		return e, true
	case interface{ Unwrap() error }:
		return errnoOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if errno, ok := errnoOf(err); ok {
				return errno, true
			}
		}
	}
	return 0, false
}

// Order is what the runtime expects of init next: it checks that init, which
// is about to hold untrusted code, keeps to the conversation.
type Order struct {
	// Mounts is whether init makes mounts, and may send Open and Map for them.
	Mounts bool
	// AtGate is whether init is to say that.
	AtGate bool

	mounted, ready, atGate bool
}

// Received notes that init sent k. It returns an error if k is out of order;
// hooks says whether the plan asked for a Mounted.
func (o *Order) Received(k Kind, hooks bool) error {
	switch {
	case o.ready && k == KindAtGate && o.AtGate && !o.atGate:
		o.atGate = true
		return nil
	case o.ready:
	case k == KindWarning, k == KindFailed:
		return nil
	case (k == KindOpen || k == KindMap) && o.Mounts && !o.mounted:
		return nil
	case k == KindMounted && hooks && !o.mounted:
		o.mounted = true
		return nil
	case k == KindReady && o.mounted == hooks:
		o.ready = true
		return nil
	}
	return fmt.Errorf("init sent %s out of order", k)
}
