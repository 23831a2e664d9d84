// trace.go: --trace, and gourd trace.

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/internal/trace/chart"
)

func traceVerb() *verb {
	return &verb{
		name:     "trace",
		summary:  "Draw the timeline that --trace has written",
		operands: "FILE",
		more: "With --trace FILE every command adds to FILE when which of its steps began and how long it took,\n" +
			"in gourd and in the container's init, on one clock. This prints it as bars; ui.perfetto.dev and\n" +
			"chrome://tracing open the same file.",
		example: "gourd --trace /tmp/web.json create --bundle /srv/web web\ngourd --trace /tmp/web.json start web\n" +
			"gourd trace /tmp/web.json\ngourd trace --svg /tmp/web.svg /tmp/web.json",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.StringFlag{Name: "svg", Usage: "write a picture to `FILE` instead of printing"},
			}
		},
		min: 1, max: 1,
		operandKinds: []operand{operandFile},
		run:          drawTrace,
	}
}

func drawTrace(p *program, c *cli.Context) error {
	name := c.Args().First()
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := chart.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: there is no step in it", name)
	}
	if !c.IsSet("svg") {
		return chart.Text(p.stdout, all, widthOf(p.stdout))
	}
	svg, err := os.Create(c.String("svg"))
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return errors.Join(chart.SVG(svg, all), svg.Close())
}

// widthOf is how many characters a line of the terminal has, or 120 where it is
// none.
func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col >= 40 {
			return int(size.Col)
		}
	}
	return 120
}

// startTrace opens the file of --trace, so that one which cannot be written is
// told before anything is done, and begins the trace. line is the verb with its
// arguments, of which the first words name the timeline.
func (p *program) startTrace(file string, line []string) (err error) {
	if p.trace, err = trace.Open(file); err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	trace.Start(traceName(line), processorTime())
	return nil
}

// processorTime is what this process has used so far. Until a trace begins it has
// hardly waited for anything, so that this is about its age, which the kernel
// tells in hundredths of a second only.
func processorTime() time.Duration {
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// traceName is "gourd VERB OPERAND".
func traceName(line []string) string {
	name := "gourd"
	if len(line) > 0 {
		name += " " + line[0]
	}
	for i, w := range line {
		if w == "--" && i > 0 && i+1 < len(line) {
			return strings.TrimSpace(name + " " + line[i+1])
		}
	}
	return name
}

// saveTrace writes the trace, also of a verb that failed.
func (p *program) saveTrace() error {
	if err := trace.Save(p.trace); err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}
