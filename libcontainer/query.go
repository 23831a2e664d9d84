package libcontainer

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// State is the answer to `state` and a line of `list`: the runtime-spec's
// state with the fields that runc adds.
type State struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	InitPID     int               `json:"pid"` // 0 when stopped
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     string            `json:"created"` // RFC 3339, UTC
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"` // the user name of who created it
}

// State tells what the container is and does. It takes no lock, so that a
// hook may ask for its own container.
func (c *Container) State() (*State, error) {
	return c.state(owner)
}

// state is State with the owner's name as by owner.
func (c *Container) state(owner func(uid int) string) (*State, error) {
	status, err := c.Status()
	if err != nil {
		return nil, err
	}
	s := &State{
		OCIVersion:  c.rec.OCIVersion,
		ID:          c.rec.ID,
		InitPID:     c.rec.InitPID,
		Status:      string(status),
		Bundle:      c.rec.Bundle,
		Rootfs:      c.rec.Rootfs,
		Created:     c.rec.Created,
		Annotations: c.rec.Annotations,
		Owner:       owner(c.rec.UID),
	}
	if status == state.Stopped {
		s.InitPID = 0
	}
	return s, nil
}

// owner returns the name of a user by /etc/passwd (passwd(5)), or "" for one
// without.
func owner(uid int) string {
	table, err := linux.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	want := strconv.Itoa(uid)
	for line := range bytes.Lines(table) {
		if f := bytes.SplitN(line, []byte(":"), 4); len(f) == 4 && string(f[2]) == want {
			return string(f[0])
		}
	}
	return ""
}

// List returns the states of all containers below root, sorted by id. One
// that vanishes or is half-made meanwhile is left out; one that cannot be
// read is in the error, and the rest are returned all the same.
func List(root string) ([]State, error) {
	ids, err := state.List(root)
	if err != nil {
		return nil, err
	}
	var list []State
	var errs []error
	owners := map[int]string{} // a look-up may read all of /etc/passwd
	known := func(uid int) string {
		name, ok := owners[uid]
		if !ok {
			name = owner(uid)
			owners[uid] = name
		}
		return name
	}
	for _, id := range ids {
		s, err := stateOf(root, id, known)
		switch {
		case err == nil:
			list = append(list, *s)
		case errors.Is(err, state.ErrNotExist), errors.Is(err, state.ErrNoRecord):
		default:
			errs = append(errs, err)
		}
	}
	return list, errors.Join(errs...)
}

func stateOf(root, id string, owner func(uid int) string) (*State, error) {
	c, err := Load(root, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.state(owner)
}
