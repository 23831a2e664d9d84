// create.go: gourd create.

package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func createVerb() *verb {
	return &verb{
		name:     "create",
		summary:  "Create a container from a bundle and leave it waiting for start",
		operands: "CONTAINER-ID",
		more: "A bundle is a directory with a config.json and a root filesystem. Namespaces, mounts,\n" +
			"cgroup and credentials are set up, and the process is ready to be executed; start does that.\n" +
			"All that can fail fails here, and then leaves nothing behind.",
		example: "gourd create --bundle /srv/web --pid-file /run/web.pid web",
		flags:   createFlags,
		min:     1, max: 1,
		run: create,
	}
}

// createFlags returns the flags of create; run has them too.
func createFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Usage: "the bundle is in `DIR` (default: the current directory)"},
		&cli.StringFlag{Name: "console-socket", Usage: "send the master side of the terminal to the unix socket at `PATH`"},
		&cli.StringFlag{Name: "pidfd-socket", Usage: "send a pidfd of the container's init to the unix socket at `PATH`"},
		&cli.StringFlag{Name: "pid-file", Usage: "write the pid of the container's init to `FILE`"},
		&cli.BoolFlag{Name: "no-pivot", Usage: "use chroot instead of pivot_root, for a root filesystem on a ramdisk; less isolated"},
		&cli.BoolFlag{Name: "no-new-keyring", Usage: "let the container have the caller's session keyring"},
		&cli.BoolFlag{Name: "via-init", Hidden: true}, // for tests: both ways do the same
		&cli.StringFlag{Name: "preserve-fds", Usage: "pass on `N` file descriptors beyond stdin, stdout, stderr and those of $LISTEN_FDS"},
	}
}

func create(p *program, c *cli.Context) error {
	o, err := p.createOptions(c)
	if err != nil {
		return err
	}
	if err := checkFDs(o.PreserveFDs); err != nil {
		return err
	}
	if err := makeStateRoot(c, o.Root); err != nil {
		return err
	}
	return libcontainer.Create(o)
}

// createOptions reads the options of create and run. It has no effects.
func (p *program) createOptions(c *cli.Context) (o libcontainer.CreateOptions, err error) {
	if o.ID, err = containerID(c); err != nil {
		return o, err
	}
	if o.Root, err = stateRoot(c); err != nil {
		return o, err
	}
	// Abs of "" is the current directory.
	if o.Bundle, err = filepath.Abs(c.String("bundle")); err != nil {
		return o, fmt.Errorf("--bundle %q: %w", c.String("bundle"), err)
	}
	if o.CgroupManager, err = cgroupManager(c); err != nil {
		return o, err
	}
	if o.Rootless, err = rootless(c); err != nil {
		return o, err
	}
	preserve, err := preserveFDs(c.String("preserve-fds"))
	if err != nil {
		return o, err
	}
	o.ListenFDs = listenFDs()
	o.PreserveFDs = o.ListenFDs + preserve
	o.ConsoleSocket = c.String("console-socket")
	o.PidFile = c.String("pid-file")
	o.PidfdSocket = c.String("pidfd-socket")
	o.NoPivot = c.Bool("no-pivot")
	o.NoNewKeyring = c.Bool("no-new-keyring")
	o.ViaInit = c.Bool("via-init")
	o.Strict = c.Bool("strict")
	o.Log = p.log
	return o, nil
}

// preserveFDs reads --preserve-fds. It is not an IntFlag, because a wrong value
// shall be told in the same words as everything else.
func preserveFDs(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("--preserve-fds %q is not a number of file descriptors", s)
	}
	return n, nil
}

var errEmptyID = errors.New("container id cannot be empty")

// containerID returns the first operand.
func containerID(c *cli.Context) (string, error) {
	id := c.Args().First()
	if id == "" {
		return "", errEmptyID
	}
	return id, nil
}
