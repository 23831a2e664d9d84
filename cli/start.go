// start.go: gourd start.

package cli

import "github.com/urfave/cli/v2"

func startVerb() *verb {
	return &verb{
		name:     "start",
		summary:  "Execute the process of a created container",
		operands: "CONTAINER-ID",
		more:     "start returns when the process has been executed, or with the reason why it could not be.",
		example:  "gourd start web",
		min:      1, max: 1,
		operandKinds: []operand{operandContainer},
		run: func(p *program, c *cli.Context) error {
			ctr, err := load(c)
			if err != nil {
				return err
			}
			defer ctr.Close()
			return ctr.Start(p.log)
		},
	}
}
