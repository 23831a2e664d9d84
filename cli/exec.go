// exec.go: gourd exec.

package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

// exitExec is the exit code of an exec that came to nothing; as runc. Those
// below are the process's own.
const exitExec = 255

func execVerb() *verb {
	return &verb{
		name:     "exec",
		summary:  "Run a process in a container",
		operands: "CONTAINER-ID COMMAND [ARG...]",
		more: "The process has the namespaces, the cgroup, the environment, the user and the limits of the\n" +
			"container's own, but for what the options say; --process describes all of it instead, and then\n" +
			"there is no COMMAND. Signals are passed on to the process, and its exit code is gourd's; 255\n" +
			"says that it could not be run.",
		example: "gourd exec --tty web sh\ngourd exec --user 1000:1000 --env LANG=C web ls -l /srv",
		flags:   execFlags,
		min:     1, max: -1,
		operandKinds:  []operand{operandContainer},
		stopAtOperand: true,
		run:           execute,
	}
}

func execFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "console-socket", Usage: "send the master side of the terminal to the unix socket at `PATH`"},
		&cli.StringFlag{Name: "pidfd-socket", Usage: "send a pidfd of the process to the unix socket at `PATH`"},
		&cli.StringFlag{Name: "cwd", Usage: "run it in the directory `DIR` of the container"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "add `NAME=VALUE` to the environment; may be repeated"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give it a terminal"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run it as the numeric user, and group, `UID[:GID]`"},
		&cli.StringSliceFlag{Name: "additional-gids", Aliases: []string{"g"}, Usage: "add the numeric group `GID`; may be repeated"},
		&cli.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "run what `FILE` describes: JSON like the process of a config.json"},
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return when it runs"},
		&cli.StringFlag{Name: "pid-file", Usage: "write its pid to `FILE`"},
		&cli.StringFlag{Name: "process-label", Usage: "run it under the SELinux label `LABEL`"},
		&cli.StringFlag{Name: "apparmor", Usage: "run it under the AppArmor profile `PROFILE`"},
		&cli.BoolFlag{Name: "no-new-privs", Usage: "keep it from gaining privileges"},
		&cli.StringSliceFlag{Name: "cap", Aliases: []string{"c"}, Usage: "add the capability `CAP_NAME`; may be repeated"},
		&cli.StringFlag{Name: "preserve-fds", Usage: "pass on `N` file descriptors beyond stdin, stdout and stderr"},
		&cli.StringSliceFlag{Name: "cgroup", Usage: "run it in the existing cgroup `PATH` below the container's"},
		&cli.BoolFlag{Name: "via-init", Hidden: true}, // for tests: both ways do the same
		&cli.BoolFlag{Name: "ignore-paused", Usage: "in a paused container, wait until that is resumed"},
	}
}

func execute(p *program, c *cli.Context) (err error) {
	o, err := p.execOptions(c)
	if err == nil {
		err = checkFDs(o.PreserveFDs)
	}
	if err == nil {
		p.exitCode, err = libcontainer.Exec(o)
	}
	if err != nil {
		return &codedError{exitExec, fmt.Errorf("exec failed: %w", err)}
	}
	return nil
}

// execOptions reads the options of exec. It has no effects.
func (p *program) execOptions(c *cli.Context) (o libcontainer.ExecOptions, err error) {
	if o.ID, err = containerID(c); err != nil {
		return o, err
	}
	if o.Root, err = stateRoot(c); err != nil {
		return o, err
	}
	if o.PreserveFDs, err = preserveFDs(c.String("preserve-fds")); err != nil {
		return o, err
	}
	switch paths := c.StringSlice("cgroup"); len(paths) {
	case 0:
	case 1:
		o.Cgroup = &paths[0]
	default:
		return o, errors.New("--cgroup is given more than once, but a process is in one cgroup (v2)")
	}
	o.ConsoleSocket = c.String("console-socket")
	o.PidFile = c.String("pid-file")
	o.PidfdSocket = c.String("pidfd-socket")
	o.Detach = c.Bool("detach")
	o.IgnorePaused = c.Bool("ignore-paused")
	o.ViaInit = c.Bool("via-init")
	o.Strict = c.Bool("strict")
	o.Log = p.log
	o.Process, err = execProcess(c)
	return o, err
}

// execProcess reads the flags that describe the process.
func execProcess(c *cli.Context) (e libcontainer.ExecProcess, err error) {
	if e.File = c.String("process"); e.File != "" {
		// conmon gives --tty with it, as the file has it.
		for _, flag := range [...]string{"cwd", "env", "user", "additional-gids", "process-label", "apparmor", "no-new-privs", "cap"} {
			if c.IsSet(flag) {
				e.Ignored = append(e.Ignored, "--"+flag)
			}
		}
		if c.Args().Len() > 1 {
			e.Ignored = append(e.Ignored, "COMMAND")
		}
		return e, nil
	}
	e.Args = c.Args().Tail()
	e.Cwd = c.String("cwd")
	e.AppArmorProfile = c.String("apparmor")
	e.SELinuxLabel = c.String("process-label")
	e.Env = c.StringSlice("env")
	e.Capabilities = c.StringSlice("cap")
	e.Terminal = c.Bool("tty")
	if c.IsSet("no-new-privs") {
		on := c.Bool("no-new-privs")
		e.NoNewPrivileges = &on
	}
	if user := c.String("user"); user != "" {
		if e.UID, e.GID, err = parseUser(user); err != nil {
			return e, err
		}
	}
	for _, text := range c.StringSlice("additional-gids") {
		gid, err := parseUserID(text)
		if err != nil {
			return e, fmt.Errorf("--additional-gids %q: %w", text, err)
		}
		e.AdditionalGIDs = append(e.AdditionalGIDs, gid)
	}
	return e, nil
}

// parseUser reads --user: UID or UID:GID, numbers only. gid is nil where none
// is given. A parser that took "1" for a name, found none, and fell back to
// root was CVE-2026-30892.
func parseUser(text string) (uid, gid *uint32, err error) {
	u, g, both := strings.Cut(text, ":")
	id, err := parseUserID(u)
	if err != nil {
		return nil, nil, fmt.Errorf("--user %q: bad uid: %w", text, err)
	}
	if !both {
		return &id, nil, nil
	}
	group, err := parseUserID(g)
	if err != nil {
		return nil, nil, fmt.Errorf("--user %q: bad gid: %w", text, err)
	}
	return &id, &group, nil
}

// parseUserID reads an id: decimal digits alone, and less than 2^32-1, which
// means "no id" to the kernel.
func parseUserID(text string) (uint32, error) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is not a number", text)
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not a number from 0 to 4294967294", text)
	}
	return uint32(n), nil
}
