package security

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutations checks that every attack has a patch that takes its protection
// out (see mutate), and README.md a row about it; and of every patch that it
// still applies, and says what the test then finds.
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
	patches, err := filepath.Glob("mutations/*.patch")
	if err != nil {
		t.Fatal(err)
	}
	for _, patch := range patches {
		apply := exec.Command("git", "apply", "--check", filepath.Join("tests/security", patch))
		apply.Dir = "../.."
		if out, err := apply.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", patch, err, out)
		}
		text, err := os.ReadFile(patch)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(text), "\n"); len(first) <= len("Finds: ") || !strings.HasPrefix(first, "Finds: ") {
			t.Errorf("%s does not begin with what the test finds without the protection: %q", patch, first)
		}
	}
}
