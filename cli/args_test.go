package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string // after "gourd"
		want string // after "gourd"
	}{
		{"nothing", "", ""},
		{"a verb", "list", "-- list --"},
		{"flags first", "create --bundle /b web", "-- create --bundle /b -- web"},
		{"flags after the id", "create web --bundle /b", "-- create --bundle /b -- web"},
		{"flags on both sides", "create --no-pivot web -b /b", "-- create --no-pivot -b /b -- web"},
		{"one dash", "create web -no-pivot -bundle /b", "-- create -no-pivot -bundle /b -- web"},
		{"value after an equals sign", "create web --bundle=/b", "-- create --bundle=/b -- web"},
		{"empty value", "create web --bundle= --no-pivot", "-- create --bundle= --no-pivot -- web"},
		{"a value that looks like a flag", "create --bundle --no-pivot web", "-- create --bundle --no-pivot -- web"},
		{"bool flags take no word", "delete --force web", "-- delete --force -- web"},
		{"bool flags with a value", "delete web --force=false", "-- delete --force=false -- web"},
		{"a missing value", "create web --bundle", "-- create --bundle"},
		{"an unknown flag", "create web --nope", "-- create --nope -- web"},
		{"end of flags", "create -- --no-pivot", "-- create -- --no-pivot"},
		{"end of flags in the middle", "create web -- --no-pivot", "-- create -- web --no-pivot"},
		{"a lone dash", "create - --no-pivot", "-- create --no-pivot -- -"},
		{"a number", "create -1 --no-pivot", "-- create -- -1 --no-pivot"},

		{"global flags", "--root /r --debug list", "--root /r --debug -- list --"},
		{"global flags with one dash", "-root /r list", "-root /r -- list --"},
		{"global flags after the verb", "list --root /r -q", "--root /r -- list -q --"},
		{"global flags after the id", "state web --root=/r", "--root=/r -- state -- web"},
		{"spec has a --rootless of its own", "--rootless auto spec --rootless", "--rootless auto -- spec --rootless --"},
		{"a missing global value", "--root", "--root"},
		{"a missing global value after the verb", "list --root", "--root"},
		{"a global value that is a verb", "--root list", "--root list"},
		{"an unknown global flag", "--nope list", "--nope -- list --"},
		{"end of global flags", "-- list", "-- list --"},

		{"kill: flags first", "kill --all web KILL", "-- kill --all -- web KILL"},
		{"kill: none after the id", "kill web -a", "-- kill -- web -a"},
		{"kill: a negative number", "kill web -9", "-- kill -- web -9"},
		{"kill: global flags come before the id", "kill --root /r web 9", "--root /r -- kill -- web 9"},
		{"ps: the rest is for ps", "ps --format table web -o pid --debug", "-- ps --format table -- web -o pid --debug"},
		{"an unknown verb", "nope --flag x", "-- nope -- --flag x"},
		{"a container named help", "create help", "-- create -- help"},
		{"an empty word", "create ", "-- create -- "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := words(tt.in)
			got := split(args, globalFlags()).argv(args)
			if want := words(tt.want); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestSplitHelpAndVersion(t *testing.T) {
	for in, want := range map[string]line{
		"--help":             {help: true},
		"-h":                 {help: true},
		"create web --help":  {help: true, verb: "create"},
		"create -h":          {help: true, verb: "create"},
		"--version":          {version: true},
		"-v":                 {version: true},
		"-V":                 {version: true},
		"--root x --version": {version: true},
		"list -v":            {verb: "list"},
		"ps web --help":      {verb: "ps"}, // ps's own
		"create -- --help":   {verb: "create"},
	} {
		got := split(words(in), globalFlags())
		if got.help != want.help || got.version != want.version || got.verb != want.verb {
			t.Errorf("%q: got help %v, version %v, verb %q", in, got.help, got.version, got.verb)
		}
	}
}

// FuzzSplit: whatever is typed, no word is lost or made up, and operands keep
// their order.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"create web -b /b", "kill -a x 9", "--root", "list --root", "create -- -- x", "- -", "-=", "--="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args := words(s)
		l := split(args, globalFlags())
		if l.help || l.version {
			return // they stand for themselves
		}
		got := l.argv(args)
		marks := func(ws []string) (out []string) {
			for _, w := range ws {
				if w != "--" {
					out = append(out, w)
				}
			}
			slices.Sort(out)
			return out
		}
		in, out := marks(args), marks(got)
		if l.open {
			return // the rest is given up: only the error is left to tell
		}
		if !slices.Equal(in, out) {
			t.Errorf("%q: words %q became %q", s, in, out)
		}
	})
}

// words splits "a b" after "gourd".
func words(s string) []string {
	if s == "" {
		return []string{"gourd"}
	}
	return append([]string{"gourd"}, strings.Split(s, " ")...)
}
