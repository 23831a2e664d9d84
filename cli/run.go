// run.go: gourd run.

package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func runVerb() *verb {
	return &verb{
		name:     "run",
		summary:  "Create and start a container, wait for its end, and delete it",
		operands: "CONTAINER-ID",
		more: "Signals are passed on to the container, and its exit code is gourd's. With --detach gourd\n" +
			"returns as soon as the container runs.",
		example: "gourd run --bundle /srv/web web",
		flags:   runFlags,
		min:     1, max: 1,
		run: run,
	}
}

func runFlags() []cli.Flag {
	return append(createFlags(),
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return when the container runs"},
		&cli.BoolFlag{Name: "keep", Usage: "do not delete the container when it has ended"},
		&cli.BoolFlag{Name: "no-subreaper", Usage: "do not reap the orphans among the container's processes"},
	)
}

func run(p *program, c *cli.Context) error {
	o, err := p.runOptions(c)
	if err != nil {
		return err
	}
	if err := checkFDs(o.PreserveFDs); err != nil {
		return err
	}
	if err := makeStateRoot(c, o.Root); err != nil {
		return err
	}
	p.exitCode, err = libcontainer.Run(o)
	return err
}

// runOptions reads the options of run. It has no effects.
func (p *program) runOptions(c *cli.Context) (o libcontainer.RunOptions, err error) {
	if o.CreateOptions, err = p.createOptions(c); err != nil {
		return o, err
	}
	o.Detach = c.Bool("detach")
	o.Keep = c.Bool("keep")
	o.NoSubreaper = c.Bool("no-subreaper")
	return o, nil
}
