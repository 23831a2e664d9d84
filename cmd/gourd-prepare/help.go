package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

func (v *verb) usage() string {
	u := "gourd prepare "
	if v.name != "create" {
		u += v.name + " "
	}
	return u + "[OPTIONS] " + v.operands
}

func printHelp(w io.Writer, all []*verb) error {
	fmt.Fprint(w, "gourd prepare turns an image into a bundle that gourd runs.\n\n"+
		"Usage: gourd prepare [OPTIONS] IMAGE NAME\n       gourd prepare COMMAND [OPTIONS] [OPERANDS]\n\n"+
		"The first form prints the bundle's directory:\n"+
		"  gourd run -b \"$(gourd prepare oci:./img:latest web)\" web\n\n"+
		"IMAGE is oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], FILE.tar,\n"+
		"docker://HOST/NAME[:TAG|@DIGEST], rootfs:DIR, builtin:hello, or the name or id of an\n"+
		"imported image.\n\nCommands:\n")
	table(w, func(t io.Writer) {
		for _, v := range all {
			if !v.hidden {
				fmt.Fprintf(t, "  %s\t%s\n", v.name, v.summary)
			}
		}
	})
	_, err := fmt.Fprint(w, "\n\"gourd prepare COMMAND --help\" tells more about a command; \"gourd prepare create --help\"\nabout the first form.\n")
	return err
}

func printVerbHelp(w io.Writer, v *verb, fs *flag.FlagSet) error {
	fmt.Fprintf(w, "%s.\n\nUsage: %s\n", v.summary, v.usage())
	if v.more != "" {
		fmt.Fprintf(w, "\n%s\n", v.more)
	}
	fmt.Fprint(w, "\nOptions:\n")
	table(w, func(t io.Writer) {
		short := map[string]string{} // usage → one-letter name
		fs.VisitAll(func(f *flag.Flag) {
			if len(f.Name) == 1 {
				short[f.Usage] = f.Name
			}
		})
		fs.VisitAll(func(f *flag.Flag) {
			if len(f.Name) == 1 {
				return
			}
			arg, usage := flag.UnquoteUsage(f)
			names := "    --" + f.Name
			if s := short[f.Usage]; s != "" {
				names = "-" + s + ", --" + f.Name
			}
			if _, isBool := f.Value.(interface{ IsBoolFlag() bool }); !isBool {
				names += " " + strings.ToUpper(arg)
			}
			fmt.Fprintf(t, "  %s\t%s\n", names, usage)
		})
	})
	if v.example != "" {
		fmt.Fprintf(w, "\nExample:\n  %s\n", strings.ReplaceAll(v.example, "\n", "\n  "))
	}
	return nil
}
