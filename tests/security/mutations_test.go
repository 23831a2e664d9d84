package security

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutations checks that every attack has a patch that takes its protection
// out (see mutate), that the patch still applies, and README.md a row about it.
func TestMutations(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Taken out\n")
	for _, a := range attacks() {
		patch := filepath.Join("mutations", a.name+".patch")
		if _, err := os.Stat(patch); err != nil {
			t.Error(err)
			continue
		}
		apply := exec.Command("git", "apply", "--check", filepath.Join("tests/security", patch))
		apply.Dir = "../.."
		if out, err := apply.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", patch, err, out)
		}
		if !strings.Contains(table, a.name) {
			t.Errorf("README.md does not say what is taken out for %s", a.name)
		}
	}
}
