package libcontainer

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/cgroups/systemd"
	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/resctrl"
)

// home is the cgroup of a container in the making. The fs manager makes it
// before init, which is born in it; systemd makes a scope around a process, so
// that with it init comes first, and waits while the scope is made.
type home struct {
	*cgroups.Cgroup // with systemd nil until init waits
	plan            *cgroups.Plan
	manager         *systemd.Manager // nil: the fs manager, or none at all
	undo            *cleanup.Stack
}

// cgroupNote is what is noted of a cgroup before it is made: its directory, if
// gourd makes it itself. (A scope is gone with its last process.)
func cgroupNote(p *cgroups.Plan) string {
	if p.Manager != cgroups.ManagerFS {
		return ""
	}
	return filepath.Join(p.Root, p.Path)
}

// removeNoted removes what a create was about to make beyond the state
// directory, or has made, when it was killed.
func removeNoted(dir *state.Dir) error {
	text, err := dir.Note()
	if err != nil {
		return err
	}
	cgroup, groups, _ := strings.Cut(text, "\n")
	if cgroup != "" {
		err = cgroups.RemoveHalfMade(cgroup, dir.Path())
	}
	if groups != "" {
		err = errors.Join(err, resctrl.RemoveGroups(strings.Split(groups, "\n")))
	}
	return err
}

// makeHome makes the cgroup of p or, with systemd, connects to who will.
func makeHome(o *CreateOptions, p *plan.Plan, undo *cleanup.Stack) (h *home, err error) {
	defer trace.Begin("make the cgroup").End()
	h = &home{plan: &p.Cgroup, undo: undo}
	if p.Cgroup.Manager == cgroups.ManagerSystemd {
		h.manager, err = systemd.Connect(context.Background(), o.Rootless)
	} else {
		h.Cgroup, err = cgroups.Create(&p.Cgroup, undo)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// birthplace is the fd of the cgroup for init to be born in; -1 leaves it in
// gourd's own.
func (h *home) birthplace() int {
	if h.manager != nil || h.Cgroup == nil {
		return -1
	}
	return h.FD()
}

// around returns what makes the scope around the waiting init; nil where it is
// born in its cgroup.
func (h *home) around() func(pid int) error {
	if h.manager == nil {
		return nil
	}
	return func(pid int) error {
		if h.Cgroup != nil { // of an init that has failed; systemd takes away a scope that is empty
			h.Cgroup.Close()
		}
		var err error
		if h.Cgroup, err = h.manager.Start(context.Background(), h.plan, pid, h.undo); err != nil {
			return &scopeError{err}
		}
		return nil
	}
}

// scopeError is an error of systemd's, which another init would meet, too.
type scopeError struct{ error }

func (s *scopeError) Unwrap() error { return s.error }

// limit writes the limits that could have stopped init's own set-up.
func (h *home) limit() error {
	defer trace.Begin("set the late limits").End()
	if h.manager != nil {
		return h.manager.Late(context.Background(), h.plan, h.Cgroup)
	}
	return h.Late(h.plan)
}

// close closes the cgroup's directory and the connection to systemd.
func (h *home) close() {
	if h.Cgroup != nil {
		h.Cgroup.Close()
	}
	if h.manager != nil {
		h.manager.Close()
	}
}
