// delete.go: gourd delete.

package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func deleteVerb() *verb {
	return &verb{
		name:     "delete",
		summary:  "Delete a stopped container: its cgroup and its state",
		operands: "CONTAINER-ID",
		more: "A container that is not stopped is not deleted. With --force it is killed first, whatever its\n" +
			"status; a half-made one is cleared away, and an unknown id is no error.",
		example: "gourd delete web",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill the container first, if it still runs"},
			}
		},
		min: 1, max: 1,
		run: func(p *program, c *cli.Context) error {
			id, err := containerID(c)
			if err != nil {
				return err
			}
			root, err := stateRoot(c)
			if err != nil {
				return err
			}
			return libcontainer.Delete(root, id, libcontainer.DeleteOptions{Force: c.Bool("force"), Log: p.log})
		},
	}
}
