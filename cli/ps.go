// ps.go: gourd ps.

package cli

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

func psVerb() *verb {
	return &verb{
		name:     "ps",
		summary:  "Show the processes of a container",
		operands: "CONTAINER-ID [PS-OPTION...]",
		more: "The table is that of the host's ps command, run with the options given (default: -ef) and cut\n" +
			"down to the container's processes; it needs a column named PID. With --format json the pids are\n" +
			"printed, as the host numbers them, and no ps is needed.",
		example: "gourd ps web -o pid,rss,args",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print as `FORMAT`: table or json"},
			}
		},
		min: 1, max: -1,
		operandKinds:  []operand{operandContainer},
		stopAtOperand: true,
		run:           ps,
	}
}

func ps(p *program, c *cli.Context) error {
	format := c.String("format")
	if format != "" && format != "table" && format != "json" {
		return fmt.Errorf("invalid format option: %q (table or json)", format)
	}
	ctr, err := load(c)
	if err != nil {
		return err
	}
	defer ctr.Close()
	pids, err := ctr.Processes()
	if err != nil {
		return err
	}
	if format == "json" {
		if pids == nil {
			pids = []int{}
		}
		return writeJSON(p.stdout, pids, "")
	}
	options := c.Args().Slice()[1:]
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	table, err := exec.Command("ps", options...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, strings.TrimSpace(string(exit.Stderr)))
		}
		return fmt.Errorf("%w (--format json needs no ps)", err)
	}
	return filterPS(p.stdout, string(table), pids)
}

// filterPS writes the header of a table of ps and the lines whose PID is one of pids.
func filterPS(w io.Writer, table string, pids []int) error {
	header, rest, _ := strings.Cut(table, "\n")
	column := slices.Index(strings.Fields(header), "PID")
	if column < 0 {
		return fmt.Errorf("the output of ps has no column PID: %q", header)
	}
	if _, err := fmt.Fprintln(w, header); err != nil {
		return err
	}
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		// A column before PID may hold spaces, which shifts it; such a line is
		// not one of ours, or not known to be.
		pid, err := strconv.Atoi(fields[column])
		if err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}
