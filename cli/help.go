// help.go: gourd help, --help, and the hints after a wrong use.

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

func helpVerb() *verb {
	return &verb{
		name:     "help",
		summary:  "Show the commands, or what one of them does",
		operands: "[COMMAND]",
		more:     "With --man the same is written as manual pages, one for each command; read one with \"man -l\".",
		example:  "gourd help create\ngourd help --man /usr/local/share/man/man8",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.StringFlag{Name: "man", Usage: "write manual pages into the directory `DIR`"},
			}
		},
		max:          1,
		operandKinds: []operand{operandCommand},
		run: func(p *program, c *cli.Context) error {
			name := c.Args().First()
			if dir := c.String("man"); dir != "" {
				if name != "" {
					return &usageError{helpVerb(), errors.New("--man writes the pages of all commands: give no COMMAND")}
				}
				return writeManPages(dir)
			}
			if name == "" {
				return printHelp(p.stdout, globalFlags())
			}
			v := findVerb(name)
			if v == nil {
				return &unknownVerbError{name}
			}
			return printVerbHelp(p.stdout, v)
		},
	}
}

// printHelp prints the commands and the global flags.
func printHelp(w io.Writer, global []cli.Flag) error {
	var b strings.Builder
	b.WriteString("gourd runs containers from OCI bundles: a low-level container runtime for engines and people.\n\n" +
		"Usage: gourd [GLOBAL OPTIONS] COMMAND [OPTIONS] [OPERANDS]\n\n" +
		"Commands:\n")
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, make := range verbTable() {
		if v := make(); !v.hidden {
			fmt.Fprintf(t, "  %s\t%s\n", v.name, v.summary)
		}
	}
	t.Flush()
	b.WriteString("\nGlobal options:\n")
	writeFlags(&b, global, "  -v, --version\tprint the version\n")
	b.WriteString("\nExample: a first container, with no image to download:\n" +
		"  gourd spec --hello --bundle /tmp/hello && gourd run --bundle /tmp/hello hello\n\n" +
		"\"gourd COMMAND --help\" tells more about a command.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// printVerbHelp prints what v does, how it is called, and an example.
func printVerbHelp(w io.Writer, v *verb) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nUsage: %s\n", v.summary, v.usage())
	if v.more != "" {
		fmt.Fprintf(&b, "\n%s\n", v.more)
	}
	b.WriteString("\nOptions:\n")
	writeFlags(&b, v.flagList(), "")
	fmt.Fprintf(&b, "\nExample:\n  %s\n", strings.ReplaceAll(v.example, "\n", "\n  "))
	_, err := io.WriteString(w, b.String())
	return err
}

// usage returns the usage line.
func (v *verb) usage() string {
	u := "gourd " + v.name
	if v.flags != nil {
		u += " [OPTIONS]"
	}
	if v.operands != "" {
		u += " " + v.operands
	}
	return u
}

// writeFlags writes a table of flags, with those in extra and --help at its end.
func writeFlags(w io.Writer, flags []cli.Flag, extra string) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, f := range flags {
		if names, usage, ok := describeFlag(f); ok {
			fmt.Fprintf(t, "  %s\t%s\n", names, usage)
		}
	}
	fmt.Fprint(t, extra, "  -h, --help\tshow this help\n")
	t.Flush()
}

// describeFlag returns a flag as "-b, --bundle DIR" with its usage, and false
// for a hidden one. The word in back quotes in the usage names the value.
func describeFlag(f cli.Flag) (names, usage string, ok bool) {
	switch f := f.(type) {
	case *cli.BoolFlag:
		if f.Hidden {
			return "", "", false
		}
		usage = f.Usage
	case *cli.StringFlag:
		if f.Hidden {
			return "", "", false
		}
		usage = f.Usage
	case *cli.StringSliceFlag:
		if f.Hidden {
			return "", "", false
		}
		usage = f.Usage
	default:
		usage = f.String()
	}
	value := ""
	if before, rest, found := strings.Cut(usage, "`"); found {
		word, after, _ := strings.Cut(rest, "`")
		usage, value = before+word+after, " "+word
	}
	short, long := "    ", ""
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = "-" + n + ", "
		} else {
			long = "--" + n
		}
	}
	return short + long + value, usage, true
}

// hintUsage says after an error how the verb is used.
func (p *program) hintUsage(v *verb) {
	if v == nil {
		fmt.Fprint(p.stderr, "usage: gourd [GLOBAL OPTIONS] COMMAND [OPTIONS] [OPERANDS]; see \"gourd --help\"\n")
		return
	}
	fmt.Fprintf(p.stderr, "usage: %s; see \"gourd %s --help\"\n", v.usage(), v.name)
}

// hintUnknown says after an unknown verb which ones there are.
func (p *program) hintUnknown(name string) {
	for _, make := range verbTable() {
		if v := make(); !v.hidden && near(name, v.name) {
			fmt.Fprintf(p.stderr, "did you mean \"gourd %s\"? ", v.name)
			break
		}
	}
	fmt.Fprint(p.stderr, "\"gourd --help\" lists the commands\n")
}

// near reports whether the two words differ by one letter that is wrong,
// missing or too many, or by two neighbours that are swapped.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	switch len(b) - len(a) {
	case 0:
		if len(a) == 0 || a[1:] == b[1:] {
			return true
		}
		return len(a) > 1 && a[0] == b[1] && a[1] == b[0] && a[2:] == b[2:]
	case 1:
		return a == b[1:]
	}
	return false
}
