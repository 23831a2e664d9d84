// Package state keeps what gourd knows of a container between two commands:
// a directory for each container with a record, a lock and the gate. It
// derives a container's status from the kernel each time it is asked for and
// never trusts a stored one.
//
// It does not know what the record's opaque parts mean, opens no cgroup and
// signals nobody.
//
// The directory <root>/<id> is made by Reserve and holds
//
//	state.json   the record, replaced atomically, and one byte of it when create
//	             has finished; readers need no lock
//	gate         locked by init until it executes the user's program
//	notify.sock  where init waits for start (package notify)
//	process      what `exec` needs of the config; updates exclude each other by it
//	resources    the limits in force, for the next `update`
//	oom          only if `events` has watched: the last count, for it to find
//
// The container's lock is flock(2) on the directory itself. Whoever changes
// something holds it; whoever only looks, or only sends a signal, never takes
// it, so that a hook may do so with its own container.
package state

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gourd-oci/gourd/internal/linux"
)

var (
	// ErrExist is the error of Reserve for an id that is in use. Its text is
	// runc's, which engines know.
	ErrExist = errors.New("container with given ID already exists")
	// ErrNotExist is in the error for an id that is not in use. Engines match
	// the text "does not exist", and BuildKit all of it.
	ErrNotExist = errors.New("container does not exist")
	// ErrNoRecord is in the error of Load for a directory without a usable
	// record: its create is at its very beginning, or was ended half-way.
	ErrNoRecord = errors.New("has no state record")
	// ErrInvalidID is in the error of ValidID.
	ErrInvalidID = errors.New("invalid container ID format")
)

// version is the version of the record's format. A newer one is refused rather
// than guessed at.
const version = 1

// Record is what state.json holds.
type Record struct {
	Version    int    `json:"version"`
	ID         string `json:"id"`
	OCIVersion string `json:"ociVersion"` // of the bundle's config.json
	Bundle     string `json:"bundle"`     // absolute
	Rootfs     string `json:"rootfs"`     // absolute
	UID        int    `json:"uid"`        // who created it
	Created    string `json:"created"`    // RFC 3339, UTC

	// BootID, InitPID and InitStart tell the container's init apart from any
	// other process that ever gets its pid. InitStart is in clock ticks after
	// boot (field 22 of /proc/PID/stat). SetInit sets all three.
	BootID    string `json:"bootId"`
	InitPID   int    `json:"initPid"`
	InitStart uint64 `json:"initStart"`

	// Ready says that create has finished.
	Ready bool `json:"-"`

	Annotations map[string]string `json:"annotations,omitempty"`

	// Plan is what libcontainer needs to find again.
	Plan json.RawMessage `json:"plan,omitempty"`
}

// SetInit makes pid, a process that exists and is not yet reaped, the
// container's init.
func (r *Record) SetInit(pid int) error {
	st, err := linux.ReadProcStat(pid)
	if err != nil {
		return fmt.Errorf("container %q: look at init: %w", r.ID, err)
	}
	boot, err := linux.BootID()
	if err != nil {
		return fmt.Errorf("container %q: read the boot id: %w", r.ID, err)
	}
	r.BootID, r.InitPID, r.InitStart = boot, pid, st.Start
	return nil
}

// maxID is how long the name of a directory may be on every file system that
// gourd's root could be on (NAME_MAX).
const maxID = 255

// ValidID checks a container's id by runc's rule: letters, digits, "_", "+",
// "-" and ".", not "." or "..", and no longer than a file's name may be.
func ValidID(id string) error {
	if id == "" || id == "." || id == ".." {
		return fmt.Errorf("%w: %q", ErrInvalidID, id)
	}
	if len(id) > maxID {
		return fmt.Errorf("%w: %q is longer than %d bytes", ErrInvalidID, id, maxID)
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '+', c == '-', c == '.':
		default:
			return fmt.Errorf("%w: %q (allowed are letters, digits, \"_\", \"+\", \"-\" and \".\")", ErrInvalidID, id)
		}
	}
	return nil
}

func notExist(id string) error { return fmt.Errorf("%w: %q", ErrNotExist, id) }
