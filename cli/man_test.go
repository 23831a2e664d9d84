package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestManPages: each command of the help has a page that shows its flags and its
// example, and that a formatter takes without a warning.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if r := try(nil, "help", "--man", dir); r.code != 0 || r.stdout+r.stderr != "" {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc, which formats the pages, is not installed")
	}
	show := func(name string) string {
		file := filepath.Join(dir, name+".8")
		lint, _ := exec.Command(mandoc, "-T", "lint", "-W", "warning", file).CombinedOutput()
		for line := range strings.Lines(string(lint)) {
			if !strings.Contains(line, "missing date") { // a build knows none
				t.Errorf("%s", line)
			}
		}
		out, err := exec.Command(mandoc, "-T", "utf8", "-O", "width=500", file).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := string(out)
		for i := strings.IndexByte(text, '\b'); i > 0; i = strings.IndexByte(text, '\b') { // bold, by overstriking
			text = text[:i-1] + text[i+1:]
		}
		return text
	}
	main := show("gourd")
	pages := 1
	for _, make := range verbTable() {
		v := make()
		if v.hidden {
			continue
		}
		pages++
		if !strings.Contains(main, "gourd-"+v.name+"(8)") {
			t.Errorf("gourd(8) does not name %s", v.name)
		}
		page := show("gourd-" + v.name)
		want := append(strings.Split(v.example, "\n"), v.usage(), v.summary)
		for _, f := range v.flagList() {
			if names, usage, ok := describeFlag(f); ok {
				want = append(want, strings.TrimSpace(names), usage)
			}
		}
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("gourd-%s(8) lacks %q:\n%s", v.name, w, page)
			}
		}
	}
	for _, f := range globalFlags() {
		if names, _, ok := describeFlag(f); ok && !strings.Contains(main, strings.TrimSpace(names)) {
			t.Errorf("gourd(8) lacks %s", names)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != pages {
		t.Errorf("%d pages were written, want %d: %v", len(files), pages, err)
	}
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		"a\n.b": "a\n\\&.b", ".x": "\\&.x", "'x": "\\(aqx", `a\b`: `a\eb`, "--x": `\-\-x`,
	} {
		if got := roff(in); got != want {
			t.Errorf("roff(%q) = %q, want %q", in, got, want)
		}
	}
}
