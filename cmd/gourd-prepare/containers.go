package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/prepare/store"
)

func listVerb() *verb {
	return &verb{
		name:    "list",
		summary: "List the containers",
		example: "gourd prepare list --format json",
		run: func(c *call) error {
			all, err := c.p.Store.Containers()
			if err != nil {
				return err
			}
			views := []view{}
			for i := range all {
				views = append(views, containerView(c.p.Store, &all[i]))
			}
			return c.print(views, func(w io.Writer) {
				table(w, func(t io.Writer) {
					fmt.Fprint(t, "NAME\tID\tIMAGE\tMOUNTS\tADDRESS\tCREATED\n")
					for _, v := range views {
						fmt.Fprintf(t, "%s\t%.12s\t%s\t%d\t%s\t%s\n", strings.Join(v.Names, ","), v.ID, v.ImageName, v.Mounts, v.Address, v.CreatedAt.Local().Format("2006-01-02 15:04:05"))
					}
				})
			})
		},
	}
}

func mountVerb() *verb {
	return &verb{
		name:     "mount",
		summary:  "Mount a container, and print where",
		operands: "NAME",
		more: "Mounts are counted: a container that is mounted twice has to be unmounted twice. What a crash\n" +
			"or a reboot has left is mended.",
		example: "gourd prepare mount web && gourd run -b \"$(gourd prepare inspect --bundle web)\" web",
		min:     1, max: 1,
		run: func(c *call) error {
			at, err := c.p.Mount(c.args[0])
			if err != nil {
				return err
			}
			return c.print(map[string]string{"rootfs": at}, func(w io.Writer) { fmt.Fprintln(w, at) })
		},
	}
}

func unmountVerb() *verb {
	var force, hook bool
	return &verb{
		name:     "unmount",
		summary:  "Take one mount of a container back; the last unmounts it",
		operands: "NAME",
		more: "The last mount of a container that runs is refused. With --hook this is a poststop hook: the\n" +
			"container's state is on standard input.",
		example: "gourd prepare unmount web",
		min:     1, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&force, "force", false, "unmount, whatever the count, also below a container that runs")
			fs.BoolVar(&force, "f", false, "unmount, whatever the count, also below a container that runs")
			fs.BoolVar(&hook, "hook", false, "act as the poststop hook of a bundle")
		},
		run: func(c *call) error {
			if hook {
				var st specs.State
				data, err := io.ReadAll(io.LimitReader(os.Stdin, 16<<20))
				if err != nil {
					return fmt.Errorf("read the state: %w", err)
				}
				if err := json.Unmarshal(data, &st); err != nil {
					return fmt.Errorf("the state on standard input: %w", err)
				}
				return c.p.UnmountHook(c.args[0], st)
			}
			if err := c.p.Unmount(c.args[0], force); err != nil {
				return err
			}
			return c.print(map[string]string{"unmounted": c.args[0]}, func(io.Writer) {})
		},
	}
}

func rmVerb() *verb {
	var force bool
	return &verb{
		name:     "rm",
		summary:  "Remove containers",
		operands: "NAME…",
		more: "A container that has processes is refused, wherever it was started, and without --force one that\n" +
			"is mounted. One that is gone is removed already.",
		example: "gourd prepare rm --force web",
		min:     1, max: -1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&force, "force", false, "unmount it first")
			fs.BoolVar(&force, "f", false, "unmount it first")
		},
		run: func(c *call) error {
			var errs []error
			done := []string{}
			for _, n := range c.args {
				if err := c.p.Remove(n, force); err != nil {
					errs = append(errs, err)
					continue
				}
				done = append(done, n)
			}
			return errors.Join(append(errs, c.print(map[string][]string{"removed": done}, func(io.Writer) {}))...)
		},
	}
}

func inspectVerb() *verb {
	var bundle, setLabel bool
	var label string
	return &verb{
		name:     "inspect",
		summary:  "Show all that is known of a container or image",
		operands: "NAME",
		example:  "gourd prepare inspect web\ngourd prepare inspect --bundle web",
		min:      1, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&bundle, "bundle", false, "print the bundle's directory alone")
			fs.Func("set-mount-label", "change the container's mount label to `LABEL`", func(s string) error {
				label, setLabel = s, true
				return nil
			})
		},
		run: func(c *call) error {
			ctr, err := c.p.Store.FindContainer(c.args[0])
			if errors.Is(err, store.ErrNoContainer) && !bundle && !setLabel {
				i, ierr := c.p.Store.FindImage(c.args[0])
				if ierr != nil {
					return errors.Join(err, ierr)
				}
				raw, _, err := c.p.Store.ImageConfig(i.ID)
				if err != nil {
					return err
				}
				c.global.format = "json"
				return c.print(struct {
					*store.Image
					Config json.RawMessage `json:"config"`
				}{i, raw}, nil)
			}
			if err != nil {
				return err
			}
			if setLabel {
				if ctr, err = c.p.Store.ChangeContainer(ctr.ID, func(c *store.Container) error { c.MountLabel = label; return nil }); err != nil {
					return err
				}
			}
			if bundle {
				at := c.p.Store.Bundle(ctr.ID)
				return c.print(map[string]string{"bundle": at}, func(w io.Writer) { fmt.Fprintln(w, at) })
			}
			c.global.format = "json"
			return c.print(containerView(c.p.Store, ctr), nil)
		},
	}
}

func rmiVerb() *verb {
	var force bool
	return &verb{
		name:     "rmi",
		summary:  "Remove images, and the layers that nothing else has",
		operands: "IMAGE…",
		more: "By a name, only that name is taken from an image that has others. An image that a container is\n" +
			"made of is refused; with --force its names and the image go, and the container keeps its layers.",
		example: "gourd prepare rmi img:latest",
		min:     1, max: -1,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&force, "force", false, "also an image that a container is made of, and with all its names")
			fs.BoolVar(&force, "f", false, "also an image that a container is made of, and with all its names")
		},
		run: func(c *call) error {
			var errs []error
			done := []string{}
			for _, n := range c.args {
				if err := c.p.RemoveImage(n, force); err != nil {
					errs = append(errs, err)
					continue
				}
				done = append(done, n)
			}
			return errors.Join(append(errs, c.print(map[string][]string{"removed": done}, func(io.Writer) {}))...)
		},
	}
}
