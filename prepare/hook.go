package prepare

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// UnmountHook is the poststop hook of a container's bundle: it takes back the
// mount that the bundle was made with, and removes the container if that was
// asked for.
func (p *Preparer) UnmountHook(id string, st specs.State) error {
	c, err := p.Store.FindContainer(id)
	if isNoContainer(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if want := p.Store.Bundle(c.ID); st.Bundle != want {
		return fmt.Errorf("unmount container %q: the state is of the bundle %s, not of %s", c.Name, st.Bundle, want)
	}
	if c.Remove {
		return p.removeAs(c.ID, true, false)
	}
	return p.takeBack(c.ID, unmounting{running: true})
}
