package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/gourd-oci/gourd/prepare"
	"github.com/gourd-oci/gourd/prepare/store"
)

// importFlags are the flags of what may import an image.
type importFlags struct {
	layerFormat, platform, authFile string
	insecure                        bool
}

func (o *importFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&o.layerFormat, "layer-format", "", "keep layers as `FORM`: directory, or erofs (default: erofs where the kernel and the store can)")
	fs.StringVar(&o.platform, "platform", "", "take the image for `OS/ARCH[/VARIANT]` (default: this machine's)")
	fs.StringVar(&o.authFile, "authfile", "", "take a registry's credentials from `FILE`")
	fs.BoolVar(&o.insecure, "insecure", false, "speak to the registry without TLS")
}

func (o *importFlags) options(c *call) (prepare.ImportOptions, error) {
	var opts prepare.ImportOptions
	switch o.layerFormat {
	case "", store.FormatDirectory, store.FormatEROFS:
		opts.Format = o.layerFormat
	default:
		return opts, &usageError{c.verb, fmt.Errorf("--layer-format %q is not known", o.layerFormat)}
	}
	if o.platform != "" {
		parts := strings.Split(o.platform, "/")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
			return opts, &usageError{c.verb, fmt.Errorf("--platform %q: it is OS/ARCH[/VARIANT]", o.platform)}
		}
		opts.Platform = ocispec.Platform{OS: parts[0], Architecture: parts[1]}
		if len(parts) == 3 {
			opts.Platform.Variant = parts[2]
		}
	}
	if o.authFile != "" {
		if _, err := os.Stat(o.authFile); err != nil {
			return opts, fmt.Errorf("--authfile: %w", err)
		}
		// The keychain of the registry client looks there.
		if err := os.Setenv("REGISTRY_AUTH_FILE", o.authFile); err != nil {
			return opts, err
		}
	}
	opts.Insecure = o.insecure
	return opts, nil
}

func importVerb() *verb {
	o := &importFlags{}
	var names list
	return &verb{
		name:     "import",
		summary:  "Bring an image into the store, and print its id",
		operands: "IMAGE",
		more:     "Layers that are there already are not read. A name that another image has moves to this one.",
		example:  "gourd prepare import oci:./img:latest\ngourd prepare import --name web docker-archive:web.tar",
		min:      1, max: 1,
		flags: func(fs *flag.FlagSet) {
			o.define(fs)
			fs.Var(&names, "name", "call the image `NAME`, in place of what its source calls it")
		},
		run: func(c *call) error {
			opts, err := o.options(c)
			if err != nil {
				return err
			}
			if c.args[0] == "" {
				return &usageError{c.verb, errors.New("the image is empty")}
			}
			opts.Names = names
			i, err := c.p.Import(c.ctx, c.args[0], opts)
			if err != nil {
				return err
			}
			return c.print(i, func(w io.Writer) { fmt.Fprintln(w, i.ID) })
		},
	}
}

func imagesVerb() *verb {
	return &verb{
		name:    "images",
		summary: "List the images",
		example: "gourd prepare images --format json",
		run: func(c *call) error {
			all, err := c.p.Store.Images()
			if err != nil {
				return err
			}
			if all == nil {
				all = []store.Image{}
			}
			return c.print(all, func(w io.Writer) {
				table(w, func(t io.Writer) {
					fmt.Fprint(t, "NAME\tID\tLAYERS\tSIZE\tIMPORTED\n")
					for _, i := range all {
						names := i.Names
						if len(names) == 0 {
							names = []string{"<none>"}
						}
						for _, n := range names {
							fmt.Fprintf(t, "%s\t%.12s\t%d\t%s\t%s\n", n, i.ID.Encoded(), len(i.Layers), humanSize(i.Size), i.Imported.Local().Format("2006-01-02 15:04:05"))
						}
					}
				})
			})
		},
	}
}
