// version.go: gourd version and gourd --version.

package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
)

// Version is gourd's version (semantic versioning).
const Version = "0.1.0-dev"

func versionVerb() *verb {
	return &verb{
		name:    "version",
		summary: "Print gourd's version, its commit, and the version of the runtime-spec it follows",
		example: "gourd version",
		run: func(p *program, _ *cli.Context) error {
			return printVersion(p.stdout)
		},
	}
}

// printVersion prints what containerd and Docker parse: they look for the word
// "version" in one line only, and for lines that begin with "commit: " and "spec: ".
func printVersion(w io.Writer) error {
	text := "gourd version " + Version + "\n"
	if c := commit(); c != "" {
		text += "commit: " + c + "\n"
	}
	_, err := fmt.Fprintf(w, "%sspec: %s\ngo: %s\n", text, specs.Version, runtime.Version())
	return err
}

// commit returns the commit that the binary was built from, with "-dirty" when
// the tree had changes; "" when go build was not told (no git, or -buildvcs=false).
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}
