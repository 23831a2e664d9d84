package main

import (
	"flag"
	"fmt"
	"io"

	"github.com/gourd-oci/gourd/prepare"
)

func runVerb() *verb {
	o := &createFlags{}
	var detach, keep, rm bool
	return &verb{
		name:     "run",
		summary:  "Prepare a container and run it, all at once",
		operands: "IMAGE [COMMAND…]",
		more: "The exit code is the container's; of one that is detached the name is printed. A container without\n" +
			"a name is removed when it has ended, one with a name is kept. Flags stand before IMAGE.",
		example: "gourd prepare run -t oci:./debian:latest bash\ngourd prepare run --name web -d img:latest",
		min:     1, max: -1, stop: true,
		flags: func(fs *flag.FlagSet) {
			o.define(fs)
			fs.Lookup("name").Usage = "call the container `NAME`; further ones are its further names"
			fs.BoolVar(&detach, "d", false, "return when it runs")
			fs.BoolVar(&detach, "detach", false, "return when it runs")
			fs.BoolVar(&rm, "rm", false, "remove it when it has ended, also if it has a name")
			fs.BoolVar(&keep, "keep", false, "do not remove it, also if it has no name")
		},
		run: func(c *call) error {
			co, err := o.options(c)
			if err != nil {
				return err
			}
			co.Config.Command = c.args[1:]
			co.Remove = rm || len(co.Names) == 0 && !keep
			name, code, err := c.p.Run(c.ctx, c.args[0], prepare.RunOptions{CreateOptions: co, Detach: detach})
			c.code = code
			if err != nil || !detach || code != 0 {
				return err
			}
			return c.print(map[string]string{"name": name}, func(w io.Writer) { fmt.Fprintln(w, name) })
		},
	}
}
