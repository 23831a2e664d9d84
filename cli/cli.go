// Package cli is gourd's command line: it turns flags into the options structs
// of the packages below, prints what they return, and picks the exit code. It
// is the only place that logs.
//
// It does nothing to a container by itself: what a verb means is decided in
// libcontainer. One file holds one verb.
//
// # Where flags may stand
//
// Global flags come before the verb or, as with runc, anywhere after it; a
// verb's own flags before or after its operands. The verbs that hand words on
// to something else (exec, kill, ps) stop reading flags at their first operand.
// One dash or two are the same: -no-pivot is --no-pivot. See split.
//
// # What is not guaranteed
//
// The texts meant for people (help, tables, the report of hello) may change
// with any release. The JSON documents and the exit codes do not.
package cli

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// Exit codes. A container's own exit code is passed through by run.
const (
	exitOK      = 0
	exitError   = 1 // any error, a wrong use of flags included; as runc
	exitUnknown = 3 // there is no such command; as runc
)

// program is one run of gourd.
type program struct {
	stdout, stderr io.Writer

	log     *slog.Logger // never nil
	logFile *os.File     // what --log names; nil: warnings and errors go to stderr
	json    bool         // --log-format json
	trace   *os.File     // what --trace names; nil: no trace

	find     func(name string) *verb // findVerb
	exitCode int                     // what the verb asks for when it returns no error
}

// usageError is an error of the command line itself: it is followed by a hint
// on how the verb is used.
type usageError struct {
	verb *verb // nil: the global part
	err  error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// unknownVerbError says that there is no verb of this name.
type unknownVerbError struct{ name string }

func (e *unknownVerbError) Error() string { return "unknown command \"" + e.name + "\"" }

// Main runs the command line args (args[0] is the program's name) with the
// process's standard streams and returns the exit code: 0, 1 for an error, 3
// for an unknown command, 255 for an exec that came to nothing, or what the
// process of a run or exec returned.
func Main(args []string) int {
	// A verb is over before it has filled the memory that a collection would
	// free; a run that stays in the foreground gets there, if ever, slowly.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(64 << 20)
	p := &program{stdout: os.Stdout, stderr: os.Stderr, find: findVerb}
	return p.main(args)
}

func (p *program) main(args []string) int {
	p.log = slog.New(&handler{out: p.stderr, format: formatPlain, level: slog.LevelInfo})
	err := p.dispatch(args)
	if p.trace != nil {
		err = errors.Join(err, p.saveTrace())
	}
	if err == nil {
		return p.exitCode
	}
	return p.fail(err)
}

// dispatch finds the verb and runs it. Only the asked verb is built, and the
// parser is given only the flags that occur.
func (p *program) dispatch(args []string) error {
	global := globalFlags()
	line := split(args, global)
	switch {
	case line.version:
		return printVersion(p.stdout)
	case !line.found && (line.help || len(line.global) == 0):
		return printHelp(p.stdout, global)
	}

	v := p.find(line.verb)
	if line.help && v != nil {
		return printVerbHelp(p.stdout, v)
	}
	return p.newApp(&line, v).Run(line.argv(args))
}

// newApp returns the parser for a command line. Its verb is nil when the line
// names none that exists.
func (p *program) newApp(l *line, v *verb) *cli.App {
	app := &cli.App{
		Name:                      "gourd",
		Flags:                     l.globalDefs,
		Before:                    p.setUp,
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		HideHelp:                  true, // dispatch prints help: urfave's would take a container named "help" or "h" for its own command
		HideVersion:               true,
		Compiled:                  time.Unix(0, 0), // else urfave asks for the program's own file time
		DisableSliceFlagSeparator: true,            // --env A=1,2 is one variable
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return &usageError{err: err}
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return &unknownVerbError{c.Args().First()}
			}
			return &usageError{err: errors.New("a command is missing")}
		},
	}
	if v != nil {
		app.Commands = []*cli.Command{p.command(v, l.flagDefs)}
	}
	return app
}

// command returns the parser of one verb with these of its flags.
func (p *program) command(v *verb, flags []cli.Flag) *cli.Command {
	return &cli.Command{
		Name:            v.name,
		Flags:           flags,
		SkipFlagParsing: v.anyArgs,
		HideHelp:        true,
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return &usageError{v, err}
		},
		Action: func(c *cli.Context) error {
			if err := v.checkOperands(c.NArg()); err != nil {
				return &usageError{v, err}
			}
			return v.run(p, c)
		},
	}
}

// fail tells err in the log and on stderr, once each, and returns the exit code.
func (p *program) fail(err error) int {
	p.log.Error(strings.ReplaceAll(err.Error(), "\n", "; ")) // a log has a line for each record
	if p.logFile != nil && !sameFile(p.logFile, p.stderr) {
		printError(p.stderr, err)
	}
	code := exitError
	var usage *usageError
	var unknown *unknownVerbError
	var coded *codedError
	switch {
	case errors.As(err, &coded):
		code = coded.code
	case errors.As(err, &unknown):
		p.hintUnknown(unknown.name)
		code = exitUnknown
	case errors.As(err, &usage):
		p.hintUsage(usage.verb)
	}
	return code
}
