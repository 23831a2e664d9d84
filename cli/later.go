// later.go: the verbs that are not built yet. They are known, so that the error
// says so, and refuse everything, --help too: engines ask for the help of a verb
// to find out whether it is there.

package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func later(name, summary string) *verb {
	return &verb{
		name:    name,
		summary: summary,
		anyArgs: true,
		hidden:  true,
		max:     -1,
		run: func(*program, *cli.Context) error {
			return fmt.Errorf("%s is not built yet", name)
		},
	}
}

func checkpointVerb() *verb { return later("checkpoint", "Save a running container to disk") }
func restoreVerb() *verb    { return later("restore", "Bring a saved container back to life") }
