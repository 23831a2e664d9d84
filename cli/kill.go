// kill.go: gourd kill.

package cli

import (
	"errors"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer"
)

func killVerb() *verb {
	return &verb{
		name:     "kill",
		summary:  "Send a signal to the container's init process",
		operands: "CONTAINER-ID [SIGNAL]",
		more: "SIGNAL is a name in any case, with or without SIG, or a number; the default is TERM. Signal 0\n" +
			"only asks whether the process is there. Real-time signals are named RTMIN+3 or RTMAX-1.",
		example: "gourd kill web KILL\ngourd kill machine RTMIN+3",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "send it to all processes of the container; also succeed when it does not run"},
				regexFlag(),
			}
		},
		min: 1, max: 2,
		operandKinds:  []operand{operandContainer, operandSignal},
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
			root, err := stateRoot(c)
			if err != nil {
				return err
			}
			ids, err := selected(root, c.Args().Slice()[:1], c.Bool("regex"))
			if err != nil {
				return err
			}
			var errs []error
			for _, id := range ids {
				errs = append(errs, kill(root, id, sig, c.Bool("all")))
			}
			return errors.Join(errs...)
		},
	}
}

func kill(root, id string, sig unix.Signal, all bool) error {
	ctr, err := libcontainer.Load(root, id)
	if err != nil {
		return err
	}
	defer ctr.Close()
	return ctr.Kill(sig, all)
}
