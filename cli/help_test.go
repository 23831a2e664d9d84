package cli

import (
	"strings"
	"testing"
)

func TestVerbs(t *testing.T) {
	seen := map[string]bool{}
	for _, make := range verbTable() {
		v := make()
		t.Run(v.name, func(t *testing.T) {
			if seen[v.name] {
				t.Error("is in the table twice")
			}
			seen[v.name] = true
			if f := findVerb(v.name); f == nil || f.name != v.name {
				t.Error("is in the table, but findVerb does not find it")
			}
			if v.summary == "" || strings.HasSuffix(v.summary, ".") || strings.Contains(v.summary, ". ") {
				t.Errorf("the summary is not one sentence without its full stop: %q", v.summary)
			}
			if v.hidden {
				return
			}
			for _, line := range strings.Split(v.example, "\n") {
				words := strings.Fields(line)
				if len(words) < 2 || words[0] != "gourd" {
					t.Fatalf("the example is no gourd command: %q", line)
				}
				if r := try(nothing, words[1:]...); r.code != 0 {
					t.Errorf("the example %q does not parse: %s", line, r.stderr)
				}
			}
			if !strings.Contains(v.example, "gourd "+v.name) {
				t.Errorf("the example does not show the verb: %q", v.example)
			}
		})
	}
}

// TestFlags: every flag has a usage, and no verb's flag is defined twice.
func TestFlags(t *testing.T) {
	for _, make := range verbTable() {
		v := make()
		seen := map[string]bool{"h": true, "help": true}
		for _, f := range v.flagList() {
			for _, n := range f.Names() {
				if seen[n] {
					t.Errorf("%s: flag %s is defined twice", v.name, n)
				}
				seen[n] = true
				if findFlag(v.flagList(), n) == nil {
					t.Errorf("%s: findFlag does not know a flag of type %T: %s", v.name, f, n)
				}
			}
			if names, usage, ok := describeFlag(f); ok && (usage == "" || names == "") {
				t.Errorf("%s: flag %s has no usage", v.name, names)
			}
		}
	}
	for _, f := range globalFlags() {
		if _, usage, ok := describeFlag(f); !ok || usage == "" {
			t.Errorf("global flag %s has no usage", f.Names()[0])
		}
	}
}

func TestHelp(t *testing.T) {
	overview := try(nil).stdout
	for _, want := range []string{"Usage: gourd [GLOBAL OPTIONS] COMMAND", "\n  create       Create a container", "      --root DIR ", "  -v, --version ", "gourd spec --hello"} {
		if !strings.Contains(overview, want) {
			t.Errorf("the overview lacks %q:\n%s", want, overview)
		}
	}
	create := try(nil, "help", "create").stdout
	for _, want := range []string{"Create a container from a bundle and leave it waiting for start.\n", "Usage: gourd create [OPTIONS] CONTAINER-ID\n", "  -b, --bundle DIR ", "Example:\n  gourd create "} {
		if !strings.Contains(create, want) {
			t.Errorf("create's help lacks %q:\n%s", want, create)
		}
	}
	for want, lines := range map[string][][]string{
		overview: {{"--help"}, {"-h"}, {"help"}, {"--debug", "--help"}},
		create:   {{"create", "--help"}, {"create", "-h"}, {"create", "web", "--bundle", "/b", "--help"}, {"--debug", "create", "-help"}},
	} {
		for _, args := range lines {
			if r := try(nil, args...); r.code != 0 || r.stdout != want || r.stderr != "" {
				t.Errorf("%q: exit code %d, stderr %q, stdout\n%s", args, r.code, r.stderr, r.stdout)
			}
		}
	}
}

func TestNear(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"create", "create", true}, {"crate", "create", true}, {"creates", "create", true}, {"craete", "create", true},
		{"kreate", "create", true}, {"creat", "create", true}, {"reate", "create", true}, {"", "ps", false},
		{"krate", "create", false}, {"list", "kill", false}, {"x", "ps", false}, {"p", "ps", true},
	} {
		if got := near(tt.a, tt.b); got != tt.want {
			t.Errorf("near(%q, %q) = %v", tt.a, tt.b, got)
		}
		if got := near(tt.b, tt.a); got != tt.want {
			t.Errorf("near(%q, %q) = %v", tt.b, tt.a, got)
		}
	}
}
