package prepare

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/overlay"
	"github.com/gourd-oci/gourd/prepare/store"
)

// errNoLayers says that a container has no writable layer above others.
var errNoLayers = errors.New("it has no writable layer above others")

// Diff lists what a container's writable layer changes, but for what a runtime
// has made there to mount on.
func (p *Preparer) Diff(ref string) ([]layer.Change, error) {
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	changes, err := p.diff(c)
	if err != nil {
		return nil, fmt.Errorf("diff container %q: %w", c.Name, err)
	}
	return changes, nil
}

func (p *Preparer) diff(c *store.Container) (changes []layer.Change, err error) {
	err = p.withChanges(c, func(upper *os.File, lowers []*os.File, skip map[string]bool) error {
		changes, err = layer.Diff(upper, lowers, p.Store.Overlay, skip)
		return err
	})
	return changes, err
}

// withChanges hands a container's writable layer to f, the layers below it, and
// which names of it are no change of the container's (mountPoints).
func (p *Preparer) withChanges(c *store.Container, f func(upper *os.File, lowers []*os.File, skip map[string]bool) error) error {
	upper, err := p.openUpper(c)
	if err != nil {
		return err
	}
	defer upper.Close()
	lowers, err := p.lowers(c)
	defer closeAll(lowers)
	if err != nil {
		return err
	}
	skip, err := p.mountPoints(c, upper, overlay.Files(lowers))
	if err != nil {
		return err
	}
	return f(upper, overlay.Files(lowers), skip)
}

// mountPoints finds what a runtime has made in a container's writable layer to
// mount on: it is neither a change of the container's nor part of a commit. What
// has been put into such a place while nothing was mounted there is.
func (p *Preparer) mountPoints(c *store.Container, upper *os.File, lowers []*os.File) (map[string]bool, error) {
	data, err := os.ReadFile(p.Store.Bundle(c.ID) + "/config.json")
	if err != nil {
		return nil, err
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	m := layer.MountPoints{Upper: upper, Parents: lowers, Overlay: p.Store.Overlay, UpperIDs: containerIDs(c)}
	if c.Chowned {
		m.LowerIDs = m.UpperIDs
	}
	for _, mount := range s.Mounts {
		m.At = append(m.At, mount.Destination)
	}
	return m.Find()
}

// openUpper opens a container's writable layer.
func (p *Preparer) openUpper(c *store.Container) (*os.File, error) {
	if !c.Writable {
		return nil, errNoLayers
	}
	return openPath(p.Store.ContainerDir(c.ID) + "/upper")
}
