// kill.go: gourd kill.

package cli

import "github.com/urfave/cli/v2"

func killVerb() *verb {
	return &verb{
		name:     "kill",
		summary:  "Send a signal to the container's init process",
		operands: "CONTAINER-ID [SIGNAL]",
		more: "SIGNAL is a name in any case, with or without SIG, or a number; the default is TERM. Signal 0\n" +
			"only asks whether the process is there. Real-time signals are named RTMIN+3 or RTMAX-1.",
		example: "gourd kill web KILL",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Hidden: true, Usage: "succeed also when the container does not run"},
			}
		},
		min: 1, max: 2,
		stopAtOperand: true,
		run: func(_ *program, c *cli.Context) error {
			// The signal first: a wrong one is wrong for any container.
			name := c.Args().Get(1)
			if name == "" {
				name = "TERM"
			}
			sig, err := parseSignal(name)
			if err != nil {
				return err
			}
			ctr, err := load(c)
			if err != nil {
				return err
			}
			defer ctr.Close()
			return ctr.Kill(sig, c.Bool("all"))
		},
	}
}
