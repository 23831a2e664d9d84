// complete.go: what may come next on a command line, for the shells.

package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer"
)

// completeVerbName is what the shells' functions call. Its operands are the
// words after "gourd", up to the one that is being typed, which may be empty.
const completeVerbName = "__complete"

func completeVerb() *verb {
	return &verb{
		name:    completeVerbName,
		summary: "Print what may stand in the place of the last word, for the shells' completion",
		anyArgs: true,
		hidden:  true,
		min:     2, max: -1,
		run: func(p *program, c *cli.Context) error {
			return complete(c.Args().Tail()).print(p.stdout) // without the "--" of line.argv
		},
	}
}

// operand says what an operand of a verb is.
type operand int

const (
	operandAny       operand = iota // nobody can know
	operandContainer                // the id of a container
	operandSignal
	operandCommand // a verb of gourd's
	operandShell
	operandDir
	operandFile
)

// candidates is the answer to a shell.
type candidates struct {
	kind  string // one of the three below
	words []candidate
}

const (
	completeWords = ":words" // those that are listed
	completeFiles = ":files" // names of files, which the shell knows better
	completeDirs  = ":dirs"
)

type candidate struct{ word, what string }

// print prints the kind, then a line for each word: "WORD<tab>WHAT".
func (c candidates) print(w io.Writer) error {
	var b strings.Builder
	b.WriteString(c.kind + "\n")
	for _, w := range c.words {
		fmt.Fprintf(&b, "%s\t%s\n", w.word, w.what)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// complete returns what may stand in the place of the last of words.
func complete(words []string) candidates {
	last := words[len(words)-1]
	before := words[:len(words)-1]
	global := globalFlags()
	l := split(append([]string{"gourd"}, before...), global)
	var v *verb
	if l.verb != "" {
		v = findVerb(l.verb)
	}
	flags := global
	if v != nil {
		flags = append(v.flagList(), global...)
	}

	var c candidates
	switch name, value, isFlag := typedFlag(last); {
	case l.help || l.version:
		c.kind = completeWords
	case l.open: // the last flag wants its value
		name, _ := flagName(before[len(before)-1])
		c = flagValues(findFlag(flags, name), "")
	case isFlag && value:
		c = flagValues(findFlag(flags, name), last[:strings.IndexByte(last, '=')+1])
	case isFlag && !slices.Contains(before, "--") && (v == nil || !v.stopAtOperand || len(l.operands) == 0):
		c = flagNames(flags)
	case l.verb == "":
		c = verbNames()
	case v != nil:
		c = operands(v, &l)
	default:
		c.kind = completeWords
	}
	if c.kind == completeWords {
		c.words = slices.DeleteFunc(c.words, func(w candidate) bool { return !strings.HasPrefix(w.word, last) })
	}
	return c
}

// typedFlag tells whether a word is, or is becoming, a flag, and whether its
// value has begun.
func typedFlag(word string) (name string, value, ok bool) {
	if !strings.HasPrefix(word, "-") {
		return "", false, false
	}
	name, _ = flagName(word)
	return name, strings.Contains(word, "="), true
}

// flagNames returns all flags that the help shows, by their long names.
func flagNames(flags []cli.Flag) candidates {
	c := candidates{kind: completeWords}
	seen := map[string]bool{}
	for _, f := range append(flags, &cli.BoolFlag{Name: "help", Usage: "show help"}) {
		_, usage, ok := describeFlag(f)
		if name := "--" + f.Names()[0]; ok && !seen[name] { // a verb's own hides a global one
			seen[name] = true
			c.words = append(c.words, candidate{name, usage})
		}
	}
	return c
}

func verbNames() candidates {
	c := candidates{kind: completeWords}
	for _, make := range verbTable() {
		if v := make(); !v.hidden {
			c.words = append(c.words, candidate{v.name, v.summary})
		}
	}
	return c
}

// flagValues returns what a flag takes; each word begins with prefix.
func flagValues(f cli.Flag, prefix string) candidates {
	if f == nil {
		return candidates{kind: completeWords}
	}
	if _, isBool := f.(*cli.BoolFlag); isBool {
		return listed(prefix, "true", "false")
	}
	switch f.Names()[0] {
	case "format":
		return listed(prefix, "table", "json")
	case "log-format":
		return listed(prefix, "text", "json")
	case "log-level":
		return listed(prefix, "error", "warning", "info", "debug")
	case "cgroup-manager":
		return listed(prefix, managerFS, managerSystemd, managerDisabled)
	case "rootless":
		return listed(prefix, "true", "false", "auto")
	case "manage-cgroups-mode":
		return listed(prefix, "soft", "full", "strict", "ignore")
	}
	switch metavar(f) {
	case "DIR":
		return candidates{kind: completeDirs}
	case "FILE", "PATH":
		return candidates{kind: completeFiles}
	}
	return candidates{kind: completeWords}
}

// metavar is the word by which a flag's usage names its value.
func metavar(f cli.Flag) string {
	names, _, _ := describeFlag(f)
	_, value, _ := strings.Cut(strings.TrimLeft(names, " "), "--")
	_, value, _ = strings.Cut(value, " ")
	return value
}

func listed(prefix string, words ...string) candidates {
	c := candidates{kind: completeWords}
	for _, w := range words {
		c.words = append(c.words, candidate{prefix + w, ""})
	}
	return c
}

// operands returns what the next operand of a verb may be.
func operands(v *verb, l *line) candidates {
	n := len(l.operands)
	kind := operandAny
	switch {
	case n < len(v.operandKinds):
		kind = v.operandKinds[n]
	case v.max < 0 && !v.stopAtOperand && len(v.operandKinds) > 0:
		kind = v.operandKinds[len(v.operandKinds)-1]
	}
	switch kind {
	case operandContainer:
		return containers(l)
	case operandSignal:
		return signalNames()
	case operandCommand:
		return verbNames()
	case operandShell:
		return listed("", shells()...)
	case operandDir:
		return candidates{kind: completeDirs}
	case operandFile:
		return candidates{kind: completeFiles}
	}
	if v.stopAtOperand && v.max < 0 {
		return candidates{kind: completeFiles} // of another program's line
	}
	return candidates{kind: completeWords}
}

// containers returns the ids below the root that the line names, but for those
// that it has already. What cannot be read is no help here, and no error.
func containers(l *line) candidates {
	c := candidates{kind: completeWords}
	root := defaultStateRoot()
	for i, w := range l.global {
		if name, ok := flagName(w); ok && name == "root" {
			if _, value, ok := strings.Cut(w, "="); ok {
				root = value
			} else if i+1 < len(l.global) {
				root = l.global[i+1]
			}
		}
	}
	list, _ := libcontainer.List(root)
	for i := range list {
		if !slices.Contains(l.operands, list[i].ID) {
			c.words = append(c.words, candidate{list[i].ID, list[i].Status})
		}
	}
	return c
}

func signalNames() candidates {
	c := candidates{kind: completeWords}
	for sig := unix.Signal(1); sig < sigRTMin; sig++ {
		if name := unix.SignalName(sig); name != "" {
			c.words = append(c.words, candidate{strings.TrimPrefix(name, "SIG"), strconv.Itoa(int(sig))})
		}
	}
	for sig := sigRTMin; sig <= sigRTMax; sig++ {
		name := "RTMIN"
		switch {
		case sig == sigRTMax:
			name = "RTMAX"
		case sig > sigRTMin:
			name += "+" + strconv.Itoa(sig-sigRTMin)
		}
		c.words = append(c.words, candidate{name, strconv.Itoa(sig)})
	}
	return c
}
