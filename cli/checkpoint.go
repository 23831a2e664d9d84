// checkpoint.go: gourd checkpoint, and what it shares with restore.

package cli

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/criu"
	"github.com/gourd-oci/gourd/libcontainer"
)

func checkpointVerb() *verb {
	return &verb{
		name:     "checkpoint",
		summary:  "Save the processes of a running container to a directory, and delete the container",
		operands: "CONTAINER-ID",
		more: "CRIU (criu.org), which must be installed, saves memory, files, sockets and all else that the\n" +
			"processes are made of; restore brings them back, here or elsewhere. The root filesystem is not\n" +
			"saved. When it fails the container goes on, and the error says what CRIU's log says.\n" +
			"Settings of CRIU's own are read from the file that the annotation org.criu.config names, or\n" +
			"from /etc/criu/gourd.conf, or else /etc/criu/runc.conf.",
		example: "gourd checkpoint --image-path /srv/web-now web",
		flags: func() []cli.Flag {
			return append(criuFlags(),
				&cli.StringFlag{Name: "parent-path", Usage: "only save what has changed since the pre-dump in `DIR`, which is relative to --image-path"},
				&cli.BoolFlag{Name: "pre-dump", Usage: "only save the memory, and let the container go on"},
				&cli.BoolFlag{Name: "leave-running", Usage: "let the container go on"},
				&cli.BoolFlag{Name: "tcp-skip-in-flight", Usage: "leave out TCP connections that are not accepted yet"},
				&cli.BoolFlag{Name: "link-remap", Usage: "give deleted files that are open a name for as long as it takes"},
				&cli.StringFlag{Name: "page-server", Usage: "send the memory to the page server at `ADDRESS:PORT`, or with --lazy-pages be one there"},
				&cli.StringFlag{Name: "status-fd", Usage: "write a NUL byte to the file descriptor `FD` when the server of --lazy-pages is ready"},
			)
		},
		min: 1, max: 1,
		operandKinds: []operand{operandContainer},
		run:          checkpoint,
	}
}

// criuFlags returns the flags of checkpoint that restore has too.
func criuFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "image-path", Usage: "the saved processes are in `DIR` (default: checkpoint)"},
		&cli.StringFlag{Name: "work-path", Usage: "CRIU's log is in `DIR` (default: that of --image-path)"},
		&cli.BoolFlag{Name: "tcp-established", Usage: "include TCP connections"},
		&cli.BoolFlag{Name: "ext-unix-sk", Usage: "allow unix sockets that are connected to outside of the container"},
		&cli.BoolFlag{Name: "shell-job", Usage: "allow a session whose leader or terminal is outside of the container"},
		&cli.BoolFlag{Name: "file-locks", Usage: "include file locks"},
		&cli.BoolFlag{Name: "lazy-pages", Usage: "leave the memory behind, to be fetched when it is used (userfaultfd)"},
		&cli.BoolFlag{Name: "auto-dedup", Usage: "free the memory's place on disk as soon as it is not needed any more"},
		&cli.StringFlag{Name: "manage-cgroups-mode", Usage: "what CRIU does with cgroups below the container's: `MODE` is soft, full, strict or ignore (default: soft)"},
		&cli.StringFlag{Name: "network-lock", Usage: "how CRIU keeps packets away meanwhile: `METHOD` is iptables, nftables or skip (default: CRIU's)"},
		&cli.StringSliceFlag{Name: "empty-ns", Usage: "make a namespace of this `TYPE` (network), but do not fill it; gourd never does"},
	}
}

// criuOptions reads the flags of criuFlags and checkpoint. A flag that the verb
// does not have is not set.
func criuOptions(c *cli.Context) (o criu.Options, err error) {
	o = criu.Options{
		ParentPath:      c.String("parent-path"),
		LeaveRunning:    c.Bool("leave-running"),
		PreDump:         c.Bool("pre-dump"),
		TCPEstablished:  c.Bool("tcp-established"),
		TCPSkipInFlight: c.Bool("tcp-skip-in-flight"),
		TCPClose:        c.Bool("tcp-close"),
		LinkRemap:       c.Bool("link-remap"),
		ExtUnixSk:       c.Bool("ext-unix-sk"),
		ShellJob:        c.Bool("shell-job"),
		FileLocks:       c.Bool("file-locks"),
		AutoDedup:       c.Bool("auto-dedup"),
		LazyPages:       c.Bool("lazy-pages"),
		PageServer:      c.String("page-server"),
		ManageCgroups:   c.String("manage-cgroups-mode"),
		NetworkLock:     c.String("network-lock"),
		EmptyNS:         c.StringSlice("empty-ns"),
		LSMProfile:      c.String("lsm-profile"),
		LSMMountContext: c.String("lsm-mount-context"),
		StatusFD:        -1,
	}
	images := c.String("image-path")
	if images == "" {
		images = "checkpoint"
	}
	if o.ImagePath, err = filepath.Abs(images); err != nil {
		return o, fmt.Errorf("--image-path %q: %w", images, err)
	}
	if work := c.String("work-path"); work != "" {
		if o.WorkPath, err = filepath.Abs(work); err != nil {
			return o, fmt.Errorf("--work-path %q: %w", work, err)
		}
	}
	if fd := c.String("status-fd"); fd != "" && fd != "-1" {
		n, err := strconv.ParseUint(fd, 10, 31)
		if err != nil {
			return o, fmt.Errorf("--status-fd %q is not a file descriptor", fd)
		}
		o.StatusFD = int(n)
	}
	return o, nil
}

func checkpoint(p *program, c *cli.Context) error {
	id, err := containerID(c)
	if err != nil {
		return err
	}
	root, err := stateRoot(c)
	if err != nil {
		return err
	}
	o, err := criuOptions(c)
	if err != nil {
		return err
	}
	return libcontainer.Checkpoint(root, id, libcontainer.CheckpointOptions{Options: o, Log: p.log})
}
