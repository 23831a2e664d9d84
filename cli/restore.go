// restore.go: gourd restore.

package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func restoreVerb() *verb {
	return &verb{
		name:     "restore",
		summary:  "Make a container whose processes are those that checkpoint has saved",
		operands: "CONTAINER-ID",
		more: "The bundle says what the container is, and where its mounts come from; the id, the cgroup and\n" +
			"the directories may be others than before. The processes go on where they were. Like run,\n" +
			"restore stays until the container ends, unless it is told to --detach.",
		example: "gourd restore --bundle /srv/web --image-path /srv/web-now --detach web",
		flags: func() []cli.Flag {
			return append(criuFlags(),
				&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Usage: "the bundle is in `DIR` (default: the current directory)"},
				&cli.StringFlag{Name: "console-socket", Usage: "send the master side of the terminal to the unix socket at `PATH`"},
				&cli.StringFlag{Name: "pid-file", Usage: "write the pid of the container's init to `FILE`"},
				&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return when the container runs"},
				&cli.BoolFlag{Name: "no-subreaper", Usage: "do not reap the orphans among the container's processes"},
				&cli.BoolFlag{Name: "no-pivot", Usage: "for other runtimes' sake: CRIU pivots in any case"},
				&cli.BoolFlag{Name: "tcp-close", Usage: "bring TCP connections back as closed ones"},
				&cli.StringFlag{Name: "lsm-profile", Usage: "put the processes under another profile: `TYPE:NAME`, with apparmor or selinux as the type"},
				&cli.StringFlag{Name: "lsm-mount-context", Usage: "give the mounts another SELinux `CONTEXT`"},
			)
		},
		min: 1, max: 1,
		run: restore,
	}
}

func restore(p *program, c *cli.Context) (err error) {
	var o libcontainer.RestoreOptions
	if o.RunOptions, err = p.runOptions(c); err != nil {
		return err
	}
	o.PreserveFDs, o.ListenFDs = 0, 0 // the processes have their files already
	if o.CRIU, err = criuOptions(c); err != nil {
		return err
	}
	if err := makeStateRoot(c, o.Root); err != nil {
		return err
	}
	p.exitCode, err = libcontainer.Restore(o)
	return err
}
