package criu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// quoted is how many lines of a log are quoted at most.
const quoted = 8

// Explain returns err, what CRIU said of its failure, with the end of its log,
// where the reason is: the last lines that say Error, or else the last ones. The
// first of them is in the first line, which is all that containerd shows.
func Explain(what string, err error, dir, name string) error {
	path := filepath.Join(dir, name)
	data, rerr := os.ReadFile(path)
	if rerr != nil {
		return fmt.Errorf("%s: %w (and there is no log of it: %w)", what, err, rerr)
	}
	lines := tail(data)
	var r *Refusal
	if errors.As(err, &r) && len(lines) > 0 {
		r.Text = "" // the log has it, too
	}
	if len(lines) == 0 {
		return fmt.Errorf("%s: %w (its log %s is empty)", what, err, path)
	}
	return fmt.Errorf("%s: %w; %s says: %s", what, err, path, strings.Join(lines, "\n\t"))
}

// tail returns the lines of a log to quote.
func tail(data []byte) []string {
	var all, errs []string
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		all = append(all, text)
		if strings.Contains(text, "Error") {
			errs = append(errs, text)
		}
	}
	if len(errs) > 0 {
		all = errs
	}
	return all[max(0, len(all)-quoted):]
}
