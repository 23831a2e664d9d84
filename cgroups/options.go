package cgroups

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Options are options of the cgroup2 filesystem, such as nsdelegate. There is
// one such filesystem for all mounts, so that whoever mounts another without
// options, in the initial cgroup namespace, takes them from everybody.
type Options struct {
	root  string
	words []string
}

// ReadOptions reads the options of the cgroup2 filesystem; without one there
// are none.
func ReadOptions() (*Options, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the options of cgroup2: %w", err)
	}
	return &Options{root, superOptions(table, root)}, nil
}

// superOptions returns the options of the filesystem at root in a mountinfo
// table that are of cgroup2's own.
func superOptions(table []byte, root string) []string {
	var words []string
	for line := range bytes.Lines(table) {
		mount, fs, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		where, what := strings.Fields(mount), strings.Fields(fs)
		if !ok || len(where) < 5 || len(what) < 3 || what[0] != "cgroup2" || unescapeMount(where[4]) != root {
			continue
		}
		words = nil // of mounts on one another the last is seen
		for word := range strings.SplitSeq(what[2], ",") {
			if word != "rw" && word != "ro" && word != "seclabel" {
				words = append(words, word)
			}
		}
	}
	return words
}

// Restore gives the filesystem back the options that it had, if it has others.
func (o *Options) Restore() error {
	if o.root == "" {
		return nil
	}
	now, err := ReadOptions()
	if err != nil {
		return err
	}
	if now.root == o.root && slices.Equal(now.words, o.words) {
		return nil
	}
	fd, err := openDir(o.root)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	params := make([]linux.Param, len(o.words))
	for i, w := range o.words {
		params[i] = linux.Param{Key: w, Flag: true}
	}
	if err := linux.Reconfigure(fd, params); err != nil {
		return fmt.Errorf("give cgroup2 its options back (%s): %w", strings.Join(o.words, ","), err)
	}
	return nil
}
