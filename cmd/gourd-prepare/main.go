// gourd-prepare does not ask every second how many processors its cgroup allows.

//go:debug updatemaxprocs=0

// Command gourd-prepare turns images into bundles and keeps them: it is what
// `gourd prepare` executes. What a verb means is decided in package prepare;
// here are its flags and what is printed, a file a verb.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// verb is a command.
type verb struct {
	name     string
	summary  string // one sentence, without its full stop
	operands string
	more     string
	example  string
	min, max int  // how many operands; max -1: any number
	stop     bool // flags end at the first operand
	hidden   bool
	flags    func(fs *flag.FlagSet)
	run      func(c *call) error
}

// verbs returns the verbs in the order of the help. The first is what is meant
// when none is named.
func verbs() []*verb {
	return []*verb{
		createVerb(), runVerb(), importVerb(), imagesVerb(), rmiVerb(), listVerb(), inspectVerb(),
		mountVerb(), unmountVerb(), sizeVerb(), diffVerb(), exportVerb(), commitVerb(), copyVerb(), tagVerb(),
		rmVerb(), checkVerb(), gcVerb(), refreshVerb(), unshareVerb(),
	}
}

// call is one call of a verb.
type call struct {
	verb   *verb
	args   []string
	global *globals
	p      *prepare.Preparer
	ctx    context.Context
	out    io.Writer
	code   int
}

// globals are the flags of every verb.
type globals struct {
	store, run, format string
	debug, quiet       bool
	help               bool
}

func (g *globals) define(fs *flag.FlagSet) {
	fs.StringVar(&g.store, "store", "", "keep images and containers in `DIR` (default: /var/lib/gourd, or $XDG_DATA_HOME/gourd when rootless)")
	fs.StringVar(&g.run, "run-dir", "", "keep what a reboot ends in `DIR` (default: /run/gourd-prepare, or $XDG_RUNTIME_DIR/gourd-prepare when rootless)")
	fs.StringVar(&g.format, "format", "", "print as `FORMAT`: text or json")
	fs.BoolVar(&g.debug, "debug", false, "tell every step")
	fs.BoolVar(&g.quiet, "quiet", false, "show no progress")
	fs.BoolVar(&g.help, "help", false, "show this help")
	fs.BoolVar(&g.help, "h", false, "show this help")
}

// usageError is an error of the command line.
type usageError struct {
	verb *verb
	err  error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func main() {
	if os.Getenv(stageVar) != "" {
		fmt.Fprintln(os.Stderr, "gourd prepare:", becomeRoot())
		os.Exit(1)
	}
	// What is made has the modes that it is made with.
	unix.Umask(0)
	os.Exit(Main(os.Args[1:]))
}

// Main runs a command line and returns the exit code: 0, 1 for an error, or
// what the container of a run returned.
func Main(args []string) int {
	code, err := dispatch(args)
	if err == nil {
		return code
	}
	fmt.Fprintln(os.Stderr, "gourd prepare:", err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "usage: %s; see \"gourd prepare --help\"\n", usage.verb.usage())
	}
	return 1
}

func dispatch(args []string) (int, error) {
	all := verbs()
	v := all[0]
	if len(args) == 0 {
		return 0, printHelp(os.Stdout, all)
	}
	if args[0] == "help" {
		args = append(args[1:], "--help")
	}
	// Global flags may stand before the verb.
	at := 0
	for at < len(args) && strings.HasPrefix(args[at], "-") && args[at] != "--" {
		name := strings.TrimLeft(args[at], "-")
		if strings.Contains(name, "=") || name != "store" && name != "run-dir" && name != "format" {
			at++
			continue
		}
		at += 2
	}
	named := false
	if at < len(args) {
		for _, w := range all {
			if w.name == args[at] {
				v, named = w, true
				args = append(append([]string{}, args[:at]...), args[at+1:]...)
				break
			}
		}
	}
	c := &call{verb: v, global: &globals{}, out: os.Stdout}
	fs := flag.NewFlagSet(v.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	c.global.define(fs)
	if v.flags != nil {
		v.flags(fs)
	}
	operands, err := parse(fs, args, v.stop)
	if err != nil {
		return 0, &usageError{v, err}
	}
	if c.global.help {
		if !named {
			return 0, printHelp(os.Stdout, all)
		}
		return 0, printVerbHelp(os.Stdout, v, fs)
	}
	c.args = operands
	switch n := len(operands); {
	case n < v.min:
		return 0, &usageError{v, fmt.Errorf("%q requires a minimum of %d operand(s)", v.name, v.min)}
	case v.max >= 0 && n > v.max:
		return 0, &usageError{v, fmt.Errorf("%q requires a maximum of %d operand(s)", v.name, v.max)}
	}
	switch c.global.format {
	case "", "text", "json":
	default:
		return 0, &usageError{v, fmt.Errorf("format %q is neither text nor json", c.global.format)}
	}
	if os.Geteuid() != 0 {
		return enterUserNS(v)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	c.ctx = ctx
	if err := c.open(); err != nil {
		return 0, err
	}
	defer c.p.Store.Close()
	err = v.run(c)
	return c.code, err
}

// parse reads flags before and after operands, unless stop; "--" ends them.
func parse(fs *flag.FlagSet, args []string, stop bool) ([]string, error) {
	var operands []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return operands, nil
		}
		// Parse has stopped at an operand or behind "--".
		if n := len(args) - len(rest); stop || n > 0 && args[n-1] == "--" {
			return append(operands, rest...), nil
		}
		operands = append(operands, rest[0])
		args = rest[1:]
	}
}

func inUserNS() bool {
	initial, err := linux.InInitialUserNS()
	return err == nil && !initial
}

// open opens the store.
func (c *call) open() error {
	level := slog.LevelInfo
	if c.global.debug {
		level = slog.LevelDebug
	}
	log := slog.New(&plainHandler{w: os.Stderr, level: level})
	rootless := os.Geteuid() != 0 || inUserNS()
	root, run := c.global.store, c.global.run
	if root == "" {
		root = "/var/lib/gourd"
		if rootless {
			data := os.Getenv("XDG_DATA_HOME")
			if data == "" {
				home, err := os.UserHomeDir()
				if err != nil {
					return fmt.Errorf("where to keep images: %w; give --store", err)
				}
				data = home + "/.local/share"
			}
			root = data + "/gourd"
		}
	}
	if run == "" {
		run = "/run/gourd-prepare"
		if xdg := os.Getenv("XDG_RUNTIME_DIR"); rootless {
			if xdg == "" {
				return errors.New("XDG_RUNTIME_DIR is not set: give --run-dir")
			}
			run = xdg + "/gourd-prepare"
		}
	}
	ns := layer.Trusted
	if rootless {
		ns = layer.User
	}
	s, err := store.Open(root, run, ns)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	outside, err := outsideRoots()
	if err != nil {
		return err
	}
	c.p = &prepare.Preparer{Store: s, Log: log, Gourd: findGourd(self), Rootless: rootless, Outside: outside,
		Self: []string{self, "--store", s.Root, "--run-dir", s.Run}}
	if !c.global.quiet && term.IsTerminal(int(os.Stderr.Fd())) {
		c.p.Progress = &bars{w: os.Stderr}
	}
	return nil
}

// findGourd finds the runtime: what has executed this program says so, else it
// is beside it, or in PATH. "": nowhere.
func findGourd(self string) string {
	if g := os.Getenv("GOURD"); g != "" {
		return g
	}
	for _, dir := range []string{filepath.Dir(self), filepath.Join(filepath.Dir(self), "../../bin")} {
		g := filepath.Join(dir, "gourd")
		if unix.Access(g, unix.X_OK) == nil {
			return g
		}
	}
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		g := filepath.Join(dir, "gourd")
		if filepath.IsAbs(g) && unix.Access(g, unix.X_OK) == nil {
			return g
		}
	}
	return ""
}

// print prints v as JSON, or calls text.
func (c *call) print(v any, text func(w io.Writer)) error {
	if c.global.format == "json" {
		e := json.NewEncoder(c.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	text(c.out)
	return nil
}

// table prints lines of tab-separated columns.
func table(w io.Writer, f func(t io.Writer)) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	f(t)
	t.Flush()
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// humanSize words a number of bytes.
func humanSize(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}
