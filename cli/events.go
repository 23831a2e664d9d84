// events.go: gourd events.

package cli

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func eventsVerb() *verb {
	return &verb{
		name:     "events",
		summary:  "Show what a container uses, and when it is out of memory",
		operands: "CONTAINER-ID",
		more: "Each event is a line of JSON: {\"type\": …, \"id\": …, \"data\": …}. \"stats\" comes once every interval\n" +
			"and has what the container uses of processor time, memory, pids and disks, and how it had to wait\n" +
			"for them (psi). \"oom\" comes when the kernel has killed something in it for want of memory. The\n" +
			"command ends with the container. Of a stopped one it tells only whether it was out of memory.",
		example: "gourd events --interval 10s web\ngourd events --stats web",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.StringFlag{Name: "interval", Usage: "show the stats once every `TIME`: 10s, 1m30s (default: 5s)"},
				&cli.BoolFlag{Name: "stats", Usage: "show the stats of now, once"},
			}
		},
		operandKinds: []operand{operandContainer},
		min:          1, max: 1,
		run: events,
	}
}

func events(p *program, c *cli.Context) error {
	interval, err := parseInterval(c.String("interval"))
	if err != nil {
		return err
	}
	ctr, err := load(c)
	if err != nil {
		return err
	}
	defer ctr.Close()
	tell := func(e *libcontainer.Event) error { return writeJSON(p.stdout, e, "") }
	if c.Bool("stats") {
		e, err := ctr.Stats()
		if err != nil {
			return err
		}
		return tell(e)
	}
	debug.SetGCPercent(100) // it may run for long, unlike most verbs
	return ctr.Events(libcontainer.EventOptions{Interval: interval, Tell: tell, Log: p.log})
}

// parseInterval reads --interval.
func parseInterval(s string) (time.Duration, error) {
	if s == "" {
		return 5 * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("--interval %q is not a time such as 500ms, 10s or 1m30s", s)
	}
	if d <= 0 {
		return 0, errors.New("duration interval must be greater than 0") // runc's words
	}
	return d, nil
}
