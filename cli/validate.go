// validate.go: gourd validate.

package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer"
	"github.com/gourd-oci/gourd/libcontainer/doctor"
)

func validateVerb() *verb {
	return &verb{
		name:     "validate",
		summary:  "Check a bundle: tell every defect of its config.json, and what this host could not give it",
		operands: "[BUNDLE]",
		more: "Nothing is created, and no program of the bundle is run. Each defect has the JSON path of where it\n" +
			"is; values of a wrong type come first, and the rest is checked when there are none. What only this\n" +
			"host or this user lacks (a namespace, a controller, a file to mount) is listed by itself. The exit\n" +
			"code is 1 if there is anything of either. With the global flag --strict what would be ignored is a\n" +
			"defect, too. BUNDLE is the current directory if it is not given.",
		example: "gourd validate /srv/web\ngourd validate --strict --format json",
		flags:   func() []cli.Flag { return []cli.Flag{formatFlag()} },
		max:     1,

		operandKinds: []operand{operandDir},
		run:          validate,
	}
}

func validate(p *program, c *cli.Context) error {
	json, err := wantsJSON(c)
	if err != nil {
		return err
	}
	o := libcontainer.CreateOptions{ID: "validate", Strict: c.Bool("strict")}
	if o.Bundle, err = filepath.Abs(c.Args().First()); err != nil {
		return err
	}
	if o.CgroupManager, err = cgroupManager(c); err != nil {
		return err
	}
	if o.Rootless, err = rootless(c); err != nil {
		return err
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer exe.Close()
	v, err := libcontainer.Validate(o, doctor.Program{Exe: exe, Args: []string{"gourd", "version"}})
	if err != nil {
		return err
	}
	if !v.OK() {
		p.exitCode = exitError
	}
	if json {
		return writeJSON(p.stdout, validationDocument(v), "  ")
	}
	return printValidation(p.stdout, v)
}

// finding is a defect in the JSON document.
type finding struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
}

// validationJSON is the document that validate prints.
type validationJSON struct {
	Bundle   string    `json:"bundle"`
	OK       bool      `json:"ok"`
	Defects  []finding `json:"defects"`
	Host     []finding `json:"host"`
	Warnings []string  `json:"warnings"`
}

func validationDocument(v *libcontainer.Validation) validationJSON {
	return validationJSON{v.Bundle, v.OK(), findings(v.Defects), findings(v.Host), append([]string{}, v.Warnings...)}
}

func findings(list defect.List) []finding {
	out := make([]finding, len(list))
	for i, d := range list {
		out[i] = finding(d)
	}
	return out
}

func printValidation(w io.Writer, v *libcontainer.Validation) error {
	var b strings.Builder
	part := func(title string, list defect.List) {
		if len(list) == 0 {
			return
		}
		b.WriteString(title + ":\n")
		for _, d := range list {
			fmt.Fprintf(&b, "  %s\n", d)
		}
	}
	part("Defects of the config", v.Defects)
	part("What this host does not give", v.Host)
	if len(v.Warnings) > 0 {
		b.WriteString("Warnings:\n")
		for _, warning := range v.Warnings {
			fmt.Fprintf(&b, "  %s\n", warning)
		}
	}
	if v.OK() {
		fmt.Fprintf(&b, "%s is valid, and this host has what it asks for.\n", v.Bundle)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
