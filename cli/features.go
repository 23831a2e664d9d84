// features.go: gourd features.

package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer/features"
)

func featuresVerb() *verb {
	return &verb{
		name:    "features",
		summary: "Print what gourd can do, as JSON in the runtime-spec's features schema",
		more: "Namespaces, capabilities, mount options, hooks, cgroup and seccomp: what this build does, whether or\n" +
			"not this host offers it too.",
		example: "gourd features",
		run: func(p *program, _ *cli.Context) error {
			return writeJSON(p.stdout, features.Supported(Version, commit()), "    ")
		},
	}
}
