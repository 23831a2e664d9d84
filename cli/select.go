// select.go: which containers the operands of a verb mean.

package cli

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer/state"
)

// regexFlag is the flag of the verbs that work on all containers of a kind.
func regexFlag() cli.Flag {
	return &cli.BoolFlag{Name: "regex", Aliases: []string{"r"}, Usage: "CONTAINER-ID is a regular expression: all ids that it matches somewhere are meant"}
}

// errNoMatch is the error for a regular expression that no id matches.
var errNoMatch = errors.New("no container's id matches")

// selected returns the ids that words are or, as regular expressions, match: in
// the order of a list, each once. Expressions are Go's, unanchored.
func selected(root string, words []string, regex bool) ([]string, error) {
	for _, w := range words {
		if w == "" {
			return nil, errEmptyID
		}
	}
	if !regex {
		return words, nil
	}
	var exprs []*regexp.Regexp
	for _, w := range words {
		e, err := regexp.Compile(w)
		if err != nil {
			return nil, fmt.Errorf("--regex %q: %w", w, err)
		}
		exprs = append(exprs, e)
	}
	all, err := state.List(root)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range all {
		for _, e := range exprs {
			if e.MatchString(id) {
				ids = append(ids, id)
				break
			}
		}
	}
	if ids == nil {
		return nil, fmt.Errorf("%w %q", errNoMatch, words)
	}
	return ids, nil
}
