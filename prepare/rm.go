package prepare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/gourd-oci/gourd/prepare/store"
)

// Errors of containers that are in use.
var (
	ErrMounted = errors.New("it is mounted")
	ErrHeld    = errors.New("the runtime has it")
)

// Remove removes a container, with all that it has. One that has processes or is
// known to the runtime is refused, and without force one that is mounted, or of
// which the runtime cannot be asked. One that is not there is removed already.
func (p *Preparer) Remove(ref string, force bool) error {
	return p.removeAs(ref, force, true)
}

// removeAs is Remove; only with ask the runtime is asked, which has what calls
// this as a hook.
func (p *Preparer) removeAs(ref string, force, ask bool) error {
	use, err := p.Store.Use()
	if err != nil {
		return err
	}
	defer use.Unlock()
	c, err := p.Store.FindContainer(ref)
	if isNoContainer(err) {
		p.Log.Warn("the container is removed already", "container", ref)
		return nil
	}
	if err != nil {
		return err
	}
	lock, err := p.Store.LockContainer(c.ID)
	if isNoContainer(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if ask {
		status, err := p.status(c)
		switch {
		case err != nil && !force:
			return fmt.Errorf("remove container %q: %w", c.Name, err)
		case err != nil:
			p.Log.Warn("it is not known whether the container runs", "container", c.Name, "error", err)
		case status != "" && status != "stopped":
			return fmt.Errorf("remove container %q: %w, and it is %s; delete it there first", c.Name, ErrHeld, status)
		}
	}
	if err := p.refuseRunning(c); err != nil {
		return fmt.Errorf("remove container %q: %w", c.Name, err)
	}
	m, err := p.Store.ReadMounts(c.ID)
	if err != nil {
		return err
	}
	if m.Total() > 0 && !force {
		return fmt.Errorf("remove container %q: %w; unmount it first, or use force", c.Name, ErrMounted)
	}
	if err := p.remove(c); err != nil {
		return fmt.Errorf("remove container %q: %w", c.Name, err)
	}
	return nil
}

// status asks the runtime what it has of a container's bundle, below the state
// root that it uses by default; "": nothing.
func (p *Preparer) status(c *store.Container) (string, error) {
	if p.Gourd == "" {
		return "", nil
	}
	cmd := exec.Command(p.Gourd, "list", "--format", "json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ask %s for its containers: %w: %s", p.Gourd, err, strings.TrimSpace(errs.String()))
	}
	var all []struct{ Bundle, Status string }
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return "", fmt.Errorf("ask %s for its containers: %w", p.Gourd, err)
	}
	status := ""
	for _, r := range all {
		if r.Bundle == p.Store.Bundle(c.ID) && (status == "" || status == "stopped") {
			status = r.Status
		}
	}
	return status, nil
}

// remove removes a container that is locked. Every step is done, and what
// fails is in the error.
func (p *Preparer) remove(c *store.Container) error {
	if err := p.clear(c); err != nil {
		return err // what is mounted must not be removed with it
	}
	// The address comes last: a container that is still there keeps it, and what
	// a kill leaves is the lease of one that is gone.
	return errors.Join(p.Store.RemoveContainer(c.ID), p.release(c))
}
