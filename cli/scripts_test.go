package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryFlagHasAScript: each command and each of its flags, under any of its
// names, is used by an integration script.
func TestEveryFlagHasAScript(t *testing.T) {
	scripts, err := filepath.Glob("../tests/integration/testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal(err)
	}
	used := map[string]bool{}
	call := regexp.MustCompile(`\b(?:runtime|RUNTIME|/gourd|bin/gourd|gourd)("?(?: .*)?)$`)
	for _, s := range scripts {
		data, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			for m := call.FindStringSubmatch(line); m != nil; m = call.FindStringSubmatch(line) {
				words := strings.FieldsFunc(m[1], func(r rune) bool { return strings.ContainsRune(" \t'\"();", r) })
				note(used, words)
				line = m[1]
			}
		}
	}
	for _, make := range append(verbTable(), func() *verb { return &verb{} }) {
		v := make()
		if v.anyArgs {
			continue // the shells' own, and what is not built yet
		}
		if v.name != "" && !used[v.name] {
			t.Errorf("no script uses %s", v.name)
		}
		list := v.flagList()
		if v.name == "" {
			list = globalFlags()
		}
		for _, f := range list {
			if !slices.ContainsFunc(f.Names(), func(n string) bool { return used[v.name+" "+n] }) {
				t.Errorf("no script uses %s", strings.TrimSpace(v.name+" --"+f.Names()[0]))
			}
		}
	}
}

// note notes which command and which flags a call uses.
func note(used map[string]bool, words []string) {
	l := split(append([]string{"gourd"}, words...), globalFlags())
	used[l.verb] = true
	for _, w := range l.global {
		if name, ok := flagName(w); ok {
			used[" "+name] = true
		}
	}
	for _, w := range l.flags {
		if name, ok := flagName(w); ok {
			used[l.verb+" "+name] = true
		}
	}
}
