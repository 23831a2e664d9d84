// args.go: brings a command line into the order that the flag parser wants.

package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart.
type line struct {
	global   []string // the global flags with their values, wherever they stood
	found    bool     // there is a verb
	verb     string
	flags    []string // the verb's flags with their values
	operands []string
	open     bool // flags (or global) ends in a flag that lacks its value
	help     bool // -h or --help was there
	version  bool // -v, -V or --version was there, before the verb

	// The definitions of the flags that occur. They are all that the parser is
	// given, for it spends some microseconds on each flag it knows. So a flag's
	// default is the zero value, which is what asking for an unknown flag yields.
	globalDefs, flagDefs []cli.Flag
}

// argv returns the line as "gourd [global flags] [--] verb [flags] [--] operands".
// An end-of-flags mark stands before the operands, so that one which looks like
// a flag stays an operand. After a flag that lacks its value stands nothing, for
// that would become the value.
func (l line) argv(args []string) []string {
	out := make([]string, 0, len(args)+3)
	out = append(out, args[0])
	out = append(out, l.global...)
	if !l.found {
		return out
	}
	out = append(out, "--", l.verb)
	out = append(out, l.flags...)
	if l.open {
		return out
	}
	out = append(out, "--")
	return append(out, l.operands...)
}

// split takes args apart. The rules are runc's:
//
//   - flags and operands may be mixed, until "--";
//   - a verb that hands words on (verb.stopAtOperand) stops at its first operand;
//   - a lone "-", and a dash before something that is no letter, is an operand;
//     in the second case so is all that follows;
//   - global flags may stand after the verb, where the verb has no flag of that name.
//
// A flag that nobody knows is left among the verb's flags: the parser refuses it
// by name.
func split(args []string, global []cli.Flag) line {
	var l line
	rest := args[1:]
	for len(rest) > 0 {
		arg := rest[0]
		if arg == "--" {
			rest = rest[1:]
			break
		}
		name, ok := flagName(arg)
		if !ok {
			break
		}
		switch name {
		case "h", "help":
			l.help = true
			rest = rest[1:]
			continue
		case "v", "V", "version":
			l.version = true
			return l
		}
		f := findFlag(global, name)
		n, open := width(rest, f)
		l.global = append(l.global, rest[:n]...)
		l.globalDefs = define(l.globalDefs, f)
		rest = rest[n:]
		if open {
			l.open = true
			return l
		}
	}
	if len(rest) == 0 {
		return l
	}
	l.found, l.verb, rest = true, rest[0], rest[1:]
	v := findVerb(l.verb)
	if v == nil {
		l.operands = rest
		return l
	}
	if v.anyArgs {
		l.operands = rest
		return l
	}
	l.splitVerb(rest, v, global)
	return l
}

// splitVerb sorts what follows the verb.
func (l *line) splitVerb(rest []string, v *verb, global []cli.Flag) {
	own := v.flagList()
	for len(rest) > 0 {
		arg := rest[0]
		if arg == "--" {
			l.operands = append(l.operands, rest[1:]...)
			return
		}
		name, ok := flagName(arg)
		if !ok {
			if v.stopAtOperand || startsWithDash(arg) {
				l.operands = append(l.operands, rest...)
				return
			}
			l.operands = append(l.operands, arg)
			rest = rest[1:]
			continue
		}
		f := findFlag(own, name)
		if f == nil && (name == "h" || name == "help") {
			l.help = true
			rest = rest[1:]
			continue
		}
		if f == nil {
			if f = findFlag(global, name); f != nil {
				n, open := width(rest, f)
				l.global = append(l.global, rest[:n]...)
				l.globalDefs = define(l.globalDefs, f)
				rest = rest[n:]
				if open {
					l.open, l.found = true, false // the parser will not get as far as the verb
					return
				}
				continue
			}
		}
		n, open := width(rest, f)
		l.flags = append(l.flags, fullName(rest[0], f))
		l.flags = append(l.flags, rest[1:n]...)
		l.flagDefs = define(l.flagDefs, f)
		rest = rest[n:]
		if open {
			l.open = true
			return
		}
	}
}

// fullName returns the flag arg under its full name, if it is one that may be
// repeated: the parser refuses to see one flag under two names.
func fullName(arg string, f cli.Flag) string {
	list, ok := f.(*cli.StringSliceFlag)
	if !ok {
		return arg
	}
	if _, value, ok := strings.Cut(arg, "="); ok {
		return "--" + list.Name + "=" + value
	}
	return "--" + list.Name
}

// define appends f, unless it is nil or there already.
func define(defs []cli.Flag, f cli.Flag) []cli.Flag {
	if f == nil || slices.Contains(defs, f) {
		return defs
	}
	return append(defs, f)
}

// startsWithDash tells "-1", which ends the flags, from "-" and "word", which do not.
func startsWithDash(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// flagName returns the name of the flag that arg is: without its one or two
// dashes and its =value. ok is false for an operand.
func flagName(arg string) (name string, ok bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", false
	}
	name = arg[1:]
	if name[0] == '-' {
		name = name[1:]
	} else if !isLetter(name[0]) {
		return "", false
	}
	if i := strings.IndexByte(name, '='); i >= 0 {
		name = name[:i]
	}
	return name, true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// findFlag returns the flag with this name or alias, or nil. (The flags' own
// Names method runs a regular expression over each.)
func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			if f.Name == name || slices.Contains(f.Aliases, name) {
				return f
			}
		case *cli.BoolFlag:
			if f.Name == name || slices.Contains(f.Aliases, name) {
				return f
			}
		case *cli.StringSliceFlag:
			if f.Name == name || slices.Contains(f.Aliases, name) {
				return f
			}
		}
	}
	return nil
}

// width returns how many words of rest the flag f at its start takes: 2 when its
// value is the next word. open says that this word is not there.
func width(rest []string, f cli.Flag) (n int, open bool) {
	if f == nil || strings.Contains(rest[0], "=") {
		return 1, false
	}
	if _, isBool := f.(*cli.BoolFlag); isBool {
		return 1, false
	}
	if len(rest) == 1 {
		return 1, true
	}
	return 2, false
}
