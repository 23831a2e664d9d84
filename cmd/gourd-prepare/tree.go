package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/gourd-oci/gourd/prepare"
	"github.com/gourd-oci/gourd/prepare/layer"
)

func sizeVerb() *verb {
	return &verb{
		name:     "size",
		summary:  "Show how large a container is",
		operands: "NAME",
		more:     "The root filesystem is the sum of the layers of its image. Each size is the sum of the sizes of\nthe files, and what they take on disk.",
		example:  "gourd prepare size web",
		min:      1, max: 1,
		run: func(c *call) error {
			s, err := c.p.Size(c.args[0])
			if err != nil {
				return err
			}
			return c.print(s, func(w io.Writer) {
				table(w, func(t io.Writer) {
					fmt.Fprint(t, "\tAPPARENT\tON DISK\n")
					fmt.Fprintf(t, "root filesystem\t%s\t%s\n", humanSize(s.RootFS.Apparent), humanSize(s.RootFS.Disk))
					fmt.Fprintf(t, "writable layer\t%s\t%s\n", humanSize(s.Writable.Apparent), humanSize(s.Writable.Disk))
				})
			})
		},
	}
}

func diffVerb() *verb {
	return &verb{
		name:     "diff",
		summary:  "List what a container has changed of its image",
		operands: "NAME",
		more:     "A is added, C changed, D deleted. What a runtime has made to mount on is left out.",
		example:  "gourd prepare diff web",
		min:      1, max: 1,
		run: func(c *call) error {
			all, err := c.p.Diff(c.args[0])
			if err != nil {
				return err
			}
			if all == nil {
				all = []layer.Change{}
			}
			return c.print(all, func(w io.Writer) {
				for _, d := range all {
					fmt.Fprintf(w, "%c %s\n", map[layer.Kind]rune{layer.Added: 'A', layer.Changed: 'C', layer.Deleted: 'D'}[d.Kind], d.Path)
				}
			})
		},
	}
}

func exportVerb() *verb {
	var output string
	return &verb{
		name:     "export",
		summary:  "Write a container's root filesystem as a tar",
		operands: "NAME",
		example:  "gourd prepare export -o web.tar web",
		min:      1, max: 1,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&output, "o", "", "write to `FILE` (default: standard output)")
			fs.StringVar(&output, "output", "", "write to `FILE` (default: standard output)")
		},
		run: func(c *call) (err error) {
			if output == "" {
				if c.global.format == "json" {
					return &usageError{c.verb, errors.New("--format json needs --output: the tar goes to standard output")}
				}
				return c.p.Export(c.ctx, c.args[0], c.out)
			}
			f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
			if err != nil {
				return err
			}
			err = c.p.Export(c.ctx, c.args[0], f)
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return errors.Join(err, os.Remove(output))
			}
			return c.print(map[string]string{"file": output}, func(io.Writer) {})
		},
	}
}

func commitVerb() *verb {
	var o prepare.CommitOptions
	var names list
	return &verb{
		name:     "commit",
		summary:  "Make an image of a container, and print its id",
		operands: "NAME [IMAGE]",
		more: "The writable layer becomes a layer of the image. The same changes make the same digests: the\n" +
			"image's time is that of the youngest file in it, unless another is given.",
		example: "gourd prepare commit web web:changed",
		min:     1, max: 2,
		flags: func(fs *flag.FlagSet) {
			fs.StringVar(&o.Author, "author", "", "say that `NAME` has made it")
			fs.StringVar(&o.Message, "m", "", "put `TEXT` into the history")
			fs.StringVar(&o.Message, "message", "", "put `TEXT` into the history")
			fs.Func("timestamp", "take `SECONDS` since 1970 as its time, and let no file be younger", func(s string) error {
				n, err := strconv.ParseInt(s, 10, 64)
				o.Time = time.Unix(n, 0)
				return err
			})
			fs.Var(&names, "name", "a further `NAME` of the image")
		},
		run: func(c *call) error {
			if len(c.args) == 2 {
				o.Names = append(o.Names, c.args[1])
			}
			o.Names = append(o.Names, names...)
			i, err := c.p.Commit(c.ctx, c.args[0], o)
			if err != nil {
				return err
			}
			return c.print(i, func(w io.Writer) { fmt.Fprintln(w, i.ID) })
		},
	}
}

func copyVerb() *verb {
	var archive bool
	return &verb{
		name:     "copy",
		summary:  "Copy files between the host and a container",
		operands: "SOURCE DESTINATION",
		more: "One of the two is NAME:PATH, in a container, whose symlinks lead nowhere outside of it. A\n" +
			"destination that is a directory gets the source with its own name.",
		example: "gourd prepare copy app.conf web:/etc/\ngourd prepare copy web:/var/log ./log",
		min:     2, max: 2,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&archive, "a", false, "keep the owners")
			fs.BoolVar(&archive, "archive", false, "keep the owners")
		},
		run: func(c *call) error {
			if err := c.p.Copy(c.ctx, c.args[0], c.args[1], archive); err != nil {
				return err
			}
			return c.print(map[string]string{"from": c.args[0], "to": c.args[1]}, func(io.Writer) {})
		},
	}
}
