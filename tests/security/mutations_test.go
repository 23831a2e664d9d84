package security

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutations checks that every attack has a patch that takes its protection
// out (see mutate), and README.md a row about it.
func TestMutations(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Taken out\n")
	for _, a := range attacks() {
		if _, err := os.Stat(filepath.Join("mutations", a.name+".patch")); err != nil {
			t.Error(err)
		}
		if !strings.Contains(table, a.name) {
			t.Errorf("README.md does not say what is taken out for %s", a.name)
		}
	}
}
