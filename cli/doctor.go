// doctor.go: gourd doctor.

package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer/doctor"
)

func doctorVerb() *verb {
	return &verb{
		name:    "doctor",
		summary: "Look at what of the kernel and the host is there for containers, missing, or restricting",
		more: "Cgroups, namespaces, users, security modules, filesystems and tools are tried out, with the rights\n" +
			"of who asks; nothing of it stays. For each is told what was found, what that means, and what to do\n" +
			"where it is not there. The exit code is 1 if something is missing without which no container runs.",
		example: "gourd doctor\ngourd doctor --format json",
		flags:   func() []cli.Flag { return []cli.Flag{formatFlag()} },
		run: func(p *program, c *cli.Context) error {
			json, err := wantsJSON(c)
			if err != nil {
				return err
			}
			exe, err := os.Open("/proc/self/exe")
			if err == nil { // else it is one of the things that are told
				defer exe.Close()
			}
			lines := doctor.Examine(doctor.Program{Exe: exe, Args: []string{"gourd", "version"}})
			for i := range lines {
				if lines[i].Needed && lines[i].Status == doctor.Missing {
					p.exitCode = exitError
				}
			}
			if json {
				return writeJSON(p.stdout, lines, "  ")
			}
			return printExamination(p.stdout, lines)
		},
	}
}

// formatFlag is the flag of the verbs that print for people or for programs.
func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Aliases: []string{"f"}, Usage: "print as `FORMAT`: table or json"}
}

// wantsJSON reads it.
func wantsJSON(c *cli.Context) (bool, error) {
	switch format := c.String("format"); format {
	case "json":
		return true, nil
	case "", "table":
		return false, nil
	default:
		return false, fmt.Errorf("invalid format option: %q (table or json)", format)
	}
}

// printExamination prints a block for each area.
func printExamination(w io.Writer, lines []doctor.Line) error {
	b := bufio.NewWriter(w)
	area := ""
	count := map[doctor.Status]int{}
	for i := range lines {
		l := &lines[i]
		if l.Area != area {
			if area != "" {
				fmt.Fprintln(b)
			}
			area = l.Area
			fmt.Fprintf(b, "%s\n", area)
		}
		count[l.Status]++
		fmt.Fprintf(b, "  %-10s  %-18s  %s\n", l.Status, l.Name, l.Found)
		fmt.Fprintf(b, "  %-10s  %-18s  means: %s\n", "", "", l.Means)
		if l.Do != "" {
			fmt.Fprintf(b, "  %-10s  %-18s  do: %s\n", "", "", l.Do)
		}
	}
	fmt.Fprintf(b, "\n%d things are there, %d are restricted, %d are missing.\n", count[doctor.There], count[doctor.Restricted], count[doctor.Missing])
	return b.Flush()
}
