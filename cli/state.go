// state.go: gourd state.

package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func stateVerb() *verb {
	return &verb{
		name:     "state",
		summary:  "Print the state of a container as JSON",
		operands: "CONTAINER-ID",
		more: "The state of the runtime-spec (ociVersion, id, status, pid, bundle, annotations), and what runc\n" +
			"adds: rootfs, created, owner. The status is creating, created, running, paused or stopped.",
		example: "gourd state web",
		min:     1, max: 1,
		operandKinds: []operand{operandContainer},
		run: func(p *program, c *cli.Context) error {
			ctr, err := load(c)
			if err != nil {
				return err
			}
			defer ctr.Close()
			st, err := ctr.State()
			if err != nil {
				return err
			}
			return writeJSON(p.stdout, st, "  ")
		},
	}
}

// load opens the container that the first operand names.
func load(c *cli.Context) (*libcontainer.Container, error) {
	id, err := containerID(c)
	if err != nil {
		return nil, err
	}
	root, err := stateRoot(c)
	if err != nil {
		return nil, err
	}
	return libcontainer.Load(root, id)
}
