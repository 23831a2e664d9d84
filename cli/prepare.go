// prepare.go: gourd prepare, which is a program of its own.

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func prepareVerb() *verb {
	return &verb{
		name:     "prepare",
		summary:  "Make a bundle of an image, and look after images and containers",
		operands: "…",
		more:     "It is gourd-prepare that does it, a program of its own: see \"gourd prepare --help\".",
		example:  "gourd prepare oci:./img:latest web",
		anyArgs:  true,
		max:      -1,
		run: func(_ *program, c *cli.Context) error {
			// The first is the mark that line.argv puts before the operands.
			return execCompanion("gourd-prepare", c.Args().Tail())
		},
	}
}

// execCompanion replaces this process by a program that belongs to gourd. It
// learns from $GOURD where gourd is.
func execCompanion(name string, args []string) error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the running program: %w", err)
	}
	places := companionPlaces(name, self, os.Getenv("PATH"))
	for _, p := range places {
		if unix.Access(p, unix.X_OK) != nil {
			continue
		}
		err := unix.Exec(p, append([]string{name}, args...), append(os.Environ(), "GOURD="+self))
		return &os.PathError{Op: "execute", Path: p, Err: err}
	}
	return &codedError{exitError, fmt.Errorf("%s is not installed: it was looked for in %s: %w", name, strings.Join(dirs(places), ", "), errors.ErrUnsupported)}
}

// companionPlaces are where a companion may be: beside gourd, in PATH, in the
// libexec directories.
func companionPlaces(name, self, path string) []string {
	beside := filepath.Dir(self)
	places := []string{filepath.Join(beside, name)}
	for dir := range strings.SplitSeq(path, ":") {
		if filepath.IsAbs(dir) { // the current directory is not searched
			places = append(places, filepath.Join(dir, name))
		}
	}
	for _, dir := range []string{filepath.Join(beside, "../libexec/gourd"), "/usr/local/libexec/gourd", "/usr/libexec/gourd"} {
		places = append(places, filepath.Join(dir, name))
	}
	return places
}

func dirs(files []string) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = filepath.Dir(f)
	}
	return out
}
