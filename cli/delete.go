// delete.go: gourd delete.

package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func deleteVerb() *verb {
	return &verb{
		name:     "delete",
		summary:  "Delete stopped containers: their cgroups and their state",
		operands: "CONTAINER-ID...",
		more: "A container that is not stopped is not deleted. With --force it is killed first, whatever its\n" +
			"status; a half-made one is cleared away, and an unknown id is no error. Of several containers\n" +
			"each is deleted that can be; the exit code is 1 if one could not.",
		example: "gourd delete web\ngourd delete --force --regex '^test-'",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "kill the container first, if it still runs"},
				regexFlag(),
			}
		},
		min: 1, max: -1,
		operandKinds: []operand{operandContainer},
		run: func(p *program, c *cli.Context) error {
			root, err := stateRoot(c)
			if err != nil {
				return err
			}
			o := libcontainer.DeleteOptions{Force: c.Bool("force"), Log: p.log}
			ids, err := selected(root, c.Args().Slice(), c.Bool("regex"))
			if err != nil && !(o.Force && errors.Is(err, errNoMatch)) {
				return err
			}
			var errs []error
			for _, id := range ids {
				errs = append(errs, libcontainer.Delete(root, id, o))
			}
			return errors.Join(errs...)
		},
	}
}
