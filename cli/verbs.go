// verbs.go: the table of verbs.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// verb is a command: what it is called, what it takes, and what it does.
type verb struct {
	name     string
	summary  string // one sentence, without its full stop
	operands string // for the usage line: "CONTAINER-ID [SIGNAL]"
	more     string // paragraphs for the help
	example  string // lines for the help
	flags    func() []cli.Flag
	min, max int // how many operands; max -1: any number

	// operandKinds are what the operands are, for the shells' completion; where
	// there may be any number, the last one goes for the rest.
	operandKinds []operand

	stopAtOperand bool // flags end at the first operand: the rest is for another program
	anyArgs       bool // no flag is looked at: all is operands
	hidden        bool // not in the list of commands

	run func(p *program, c *cli.Context) error
}

// verbTable returns every verb's name with the function that describes it, in
// the order of the help: a container's life first.
func verbTable() []func() *verb {
	return []func() *verb{
		createVerb, startVerb, runVerb, execVerb, stateVerb, listVerb, psVerb, eventsVerb, killVerb, pauseVerb, resumeVerb, updateVerb, checkpointVerb, restoreVerb, deleteVerb,
		prepareVerb, specVerb, validateVerb, doctorVerb, featuresVerb, traceVerb, helloVerb, completionVerb, versionVerb, helpVerb,
		completeVerb,
	}
}

// findVerb returns the verb of this name, or nil. It is a switch, so that no
// other verb is built.
func findVerb(name string) *verb {
	switch name {
	case "create":
		return createVerb()
	case "start":
		return startVerb()
	case "run":
		return runVerb()
	case "state":
		return stateVerb()
	case "list":
		return listVerb()
	case "ps":
		return psVerb()
	case "kill":
		return killVerb()
	case "pause":
		return pauseVerb()
	case "resume":
		return resumeVerb()
	case "delete":
		return deleteVerb()
	case "prepare":
		return prepareVerb()
	case "spec":
		return specVerb()
	case "features":
		return featuresVerb()
	case "trace":
		return traceVerb()
	case "hello":
		return helloVerb()
	case "validate":
		return validateVerb()
	case "doctor":
		return doctorVerb()
	case "completion":
		return completionVerb()
	case completeVerbName:
		return completeVerb()
	case "version":
		return versionVerb()
	case "help":
		return helpVerb()
	case "exec":
		return execVerb()
	case "update":
		return updateVerb()
	case "events":
		return eventsVerb()
	case "checkpoint":
		return checkpointVerb()
	case "restore":
		return restoreVerb()
	}
	return nil
}

// flagList returns the verb's own flags, made anew.
func (v *verb) flagList() []cli.Flag {
	if v.flags == nil {
		return nil
	}
	return v.flags()
}

// checkOperands checks the number of operands; the texts are runc's.
func (v *verb) checkOperands(n int) error {
	switch {
	case v.min == v.max && n != v.min:
		return fmt.Errorf("%q requires exactly %d argument(s)", v.name, v.min)
	case n < v.min:
		return fmt.Errorf("%q requires a minimum of %d argument(s)", v.name, v.min)
	case v.max >= 0 && n > v.max:
		return fmt.Errorf("%q requires a maximum of %d argument(s)", v.name, v.max)
	}
	return nil
}
