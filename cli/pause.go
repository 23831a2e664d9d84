// pause.go: gourd pause and gourd resume.

package cli

import "github.com/urfave/cli/v2"

func pauseVerb() *verb {
	return &verb{
		name:     "pause",
		summary:  "Suspend all processes of a container",
		operands: "CONTAINER-ID",
		more:     "The processes are frozen with their cgroup, and do not notice it.",
		example:  "gourd pause web",
		min:      1, max: 1,
		operandKinds: []operand{operandContainer},
		run: func(_ *program, c *cli.Context) error {
			ctr, err := load(c)
			if err != nil {
				return err
			}
			defer ctr.Close()
			return ctr.Pause()
		},
	}
}

func resumeVerb() *verb {
	return &verb{
		name:     "resume",
		summary:  "Let the processes of a paused container go on",
		operands: "CONTAINER-ID",
		example:  "gourd resume web",
		min:      1, max: 1,
		operandKinds: []operand{operandContainer},
		run: func(_ *program, c *cli.Context) error {
			ctr, err := load(c)
			if err != nil {
				return err
			}
			defer ctr.Close()
			return ctr.Resume()
		},
	}
}
