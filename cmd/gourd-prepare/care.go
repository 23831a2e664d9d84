package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/gourd-oci/gourd/prepare"
)

func checkVerb() *verb {
	var o prepare.CheckOptions
	return &verb{
		name:    "check",
		summary: "Look for damage in the store, and mend it",
		more: "It finds layers that were never finished or did not reach the disk, images without their layers,\n" +
			"directories that belong to nothing, stale mounts and leases. The exit code is 1 if something is\n" +
			"left that is not as it should be.",
		example: "gourd prepare check --repair",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.Repair, "repair", false, "mend it")
			fs.BoolVar(&o.Deep, "deep", false, "also read every layer, and compare it with what was imported")
		},
		run: func(c *call) error {
			all, err := c.p.Check(c.ctx, o)
			if all == nil {
				all = []prepare.Problem{}
			}
			left := 0
			for _, p := range all {
				if !p.Repaired {
					left++
				}
			}
			if left > 0 {
				c.code = 1
			}
			perr := c.print(all, func(w io.Writer) {
				for _, p := range all {
					done := "to be done: "
					if p.Repaired {
						done = "repaired: "
					}
					fmt.Fprintf(w, "%s: %s (%s%s)\n", p.Object, p.Problem, done, p.Remedy)
				}
			})
			return errors.Join(err, perr)
		},
	}
}

func gcVerb() *verb {
	var images, dry bool
	return &verb{
		name:    "gc",
		summary: "Remove what nothing refers to",
		more:    "These are layers of no image and no container, and what killed processes have left.",
		example: "gourd prepare gc --images",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&images, "images", false, "also images that have no name and no container")
			fs.BoolVar(&dry, "dry-run", false, "only say what would be removed")
		},
		run: func(c *call) error {
			g, err := c.p.GC(images, dry)
			if err != nil {
				return err
			}
			return c.print(g, func(w io.Writer) {
				fmt.Fprintf(w, "%d layers (%s), %d images, %d unfinished\n", len(g.Layers), humanSize(g.Bytes), len(g.Images), g.Temp)
			})
		},
	}
}

func refreshVerb() *verb {
	return &verb{
		name:    "refresh",
		summary: "Bring containers back after a reboot",
		more:    "Their files and counts are made anew. \"mount\" does the same for one container, and mounts it.",
		example: "gourd prepare refresh",
		run: func(c *call) error {
			all, err := c.p.Refresh()
			if err != nil {
				return err
			}
			for _, r := range all {
				if !r.Ready {
					c.code = 1
				}
			}
			return c.print(all, func(w io.Writer) {
				for _, r := range all {
					if r.Ready {
						fmt.Fprintf(w, "%s: ready\n", r.Name)
					} else {
						fmt.Fprintf(w, "%s: %s\n", r.Name, r.Error)
					}
				}
			})
		},
	}
}

func tagVerb() *verb {
	return &verb{
		name:     "tag",
		summary:  "Give an image or a container a further name",
		operands: "NAME NEW-NAME",
		more:     "A name that another image has moves; a container's name is never taken from it.",
		example:  "gourd prepare tag img:latest img:v1",
		min:      2, max: 2,
		run: func(c *call) error {
			if err := c.p.Tag(c.args[0], c.args[1]); err != nil {
				return err
			}
			return c.print(map[string]string{"name": c.args[1]}, func(io.Writer) {})
		},
	}
}
