// globals.go: the flags that every verb shares, and what is set up from them.

package cli

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// globalFlags returns runc's global flags, the two of crun that engines use, and
// gourd's own.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Usage: "keep the containers' state in `DIR` (default: /run/gourd, or $XDG_RUNTIME_DIR/gourd when rootless)"},
		&cli.StringFlag{Name: "log", Usage: "append warnings and errors to `FILE` instead of writing them to stderr"},
		&cli.StringFlag{Name: "log-format", Usage: "write the log as `FORMAT`: text, or json (one object a line: level, msg, time)"},
		&cli.StringFlag{Name: "log-level", Usage: "log from `LEVEL` on: error, warning, info or debug"},
		&cli.BoolFlag{Name: "debug", Usage: "log everything, the compiled plan of a container too; as --log-level debug"},
		&cli.BoolFlag{Name: "systemd-cgroup", Usage: "let systemd make the cgroup; cgroupsPath is then \"slice:prefix:name\""},
		&cli.StringFlag{Name: "cgroup-manager", Usage: "who makes the cgroup: `MANAGER` is cgroupfs, systemd or disabled"},
		&cli.StringFlag{Name: "trace", Usage: "add a timeline of every step to `FILE`, for \"gourd trace\" and Perfetto"},
		&cli.BoolFlag{Name: "strict", Usage: "refuse a config of which anything would be ignored, such as a property that gourd does not know"},
		&cli.StringFlag{Name: "rootless", Usage: "whether to go on where the permission for a cgroup is missing: `WHEN` is true, false or auto"},
	}
}

// The values of --cgroup-manager.
const (
	managerFS       = "cgroupfs"
	managerSystemd  = "systemd"
	managerDisabled = "disabled"
)

// setUp checks the global flags and opens the log. It runs before the verb.
func (p *program) setUp(c *cli.Context) error {
	level, err := logLevel(c.String("log-level"), c.Bool("debug"))
	if err != nil {
		return &usageError{err: err}
	}
	h := &handler{out: p.stderr, format: formatPlain, level: level}
	switch f := c.String("log-format"); f {
	case "text", "": // runc takes the empty string for text
	case "json":
		p.json = true
	default:
		return &usageError{err: fmt.Errorf("invalid log-format: %q (text or json)", f)}
	}
	if name := c.String("log"); name != "" {
		if p.logFile, err = openLog(name); err != nil {
			return err
		}
		h.out, h.format = p.logFile, formatText
	}
	if p.json {
		h.format = formatJSON
	}
	p.log = slog.New(h)
	if c.IsSet("trace") {
		if err := p.startTrace(c.String("trace"), c.Args().Slice()); err != nil {
			return err
		}
	}
	if _, err := cgroupManager(c); err != nil {
		return &usageError{err: err}
	}
	if _, err := parseRootless(c.String("rootless")); err != nil {
		return &usageError{err: err}
	}
	return nil
}

// logLevel returns the level that --log-level names; debug overrides it.
func logLevel(name string, debug bool) (slog.Level, error) {
	if debug {
		return slog.LevelDebug, nil
	}
	switch name {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warning", "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("invalid log-level: %q (error, warning, info or debug)", name)
}

// openLog opens the file of --log for appending. crun's file: prefix is
// understood; its journald: and syslog: are refused rather than taken for the
// name of a file.
func openLog(name string) (*os.File, error) {
	switch kind, _, _ := strings.Cut(name, ":"); kind {
	case "journald", "syslog":
		return nil, &usageError{err: fmt.Errorf("--log %s: logging to %s is not built yet; give the path of a file", name, kind)}
	}
	name = strings.TrimPrefix(name, "file:")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	return f, nil
}

// cgroupManager returns which manager --systemd-cgroup and --cgroup-manager ask for.
func cgroupManager(c *cli.Context) (string, error) {
	m := c.String("cgroup-manager")
	switch m {
	case managerFS, managerSystemd, managerDisabled:
	case "":
		if !c.IsSet("cgroup-manager") {
			m = managerFS
			break
		}
		fallthrough
	default:
		return "", fmt.Errorf("invalid cgroup-manager: %q (%s, %s or %s)", m, managerFS, managerSystemd, managerDisabled)
	}
	if !c.Bool("systemd-cgroup") {
		return m, nil
	}
	if c.IsSet("cgroup-manager") && m != managerSystemd {
		return "", fmt.Errorf("--systemd-cgroup contradicts --cgroup-manager %s", m)
	}
	return managerSystemd, nil
}

// sameFile reports whether the two are one open file or terminal, so that an
// error is not told twice with --log /dev/stderr.
func sameFile(f *os.File, w any) bool {
	g, ok := w.(*os.File)
	if !ok {
		return false
	}
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := g.Stat()
	if err != nil {
		return false
	}
	if os.SameFile(a, b) {
		return true
	}
	// Two inodes of one terminal (/dev/tty aside, which has a number of its own).
	sa, ok1 := a.Sys().(*syscall.Stat_t)
	sb, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && a.Mode()&os.ModeCharDevice != 0 && b.Mode()&os.ModeCharDevice != 0 && sa.Rdev == sb.Rdev
}
