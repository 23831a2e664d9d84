// list.go: gourd list.

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func listVerb() *verb {
	return &verb{
		name:    "list",
		summary: "List the containers below the state root",
		more:    "A root given with --root that does not exist is an error; the default one just holds no containers yet.",
		example: "gourd list --format json",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print as `FORMAT`: table or json"},
				&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the ids"},
			}
		},
		run: func(p *program, c *cli.Context) error {
			format := c.String("format")
			if format != "" && format != "table" && format != "json" {
				return fmt.Errorf("invalid format option: %q (table or json)", format)
			}
			root, err := stateRoot(c)
			if err != nil {
				return err
			}
			containers, broken := listContainers(root, c.IsSet("root"))
			switch {
			case containers == nil:
				return broken
			case c.Bool("quiet"):
				err = printIDs(p.stdout, containers)
			case format == "json":
				err = writeJSON(p.stdout, containers, "")
			default:
				err = printTable(p.stdout, containers)
			}
			// As ls does: what can be shown is shown, and the rest is an error.
			return errors.Join(err, broken)
		},
	}
}

// listContainers returns the states of all containers, and an error that tells
// which ones could not be read. The list is nil only if the root itself could not
// be, so that the JSON of no containers is an empty list.
func listContainers(root string, given bool) ([]libcontainer.State, error) {
	if _, err := os.Stat(root); err != nil {
		if errors.Is(err, fs.ErrNotExist) && !given {
			return []libcontainer.State{}, nil
		}
		return nil, err
	}
	containers, err := libcontainer.List(root)
	if containers == nil {
		containers = []libcontainer.State{}
	}
	return containers, err
}

func printIDs(w io.Writer, containers []libcontainer.State) error {
	b := bufio.NewWriter(w)
	for i := range containers {
		fmt.Fprintln(b, containers[i].ID)
	}
	return b.Flush()
}

// printTable prints runc's columns with runc's spacing, which scripts cut at.
func printTable(w io.Writer, containers []libcontainer.State) error {
	b := bufio.NewWriter(w) // tabwriter writes word by word
	t := tabwriter.NewWriter(b, 12, 1, 3, ' ', 0)
	fmt.Fprint(t, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for i := range containers {
		s := &containers[i]
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.InitPID, s.Status, s.Bundle, s.Created, s.Owner)
	}
	return errors.Join(t.Flush(), b.Flush())
}
