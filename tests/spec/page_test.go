package spec

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	page    = "../../docs/spec.md"
	scripts = "../integration/testdata"
)

// A row is a line of one of the page's tables.
type row struct {
	names  []string // in the first cell, or the first two; without their quotes
	state  string   // "done" in a table that has no such column
	tests  []string
	remark string
}

// table returns the rows of the table whose head begins with this line.
func table(t *testing.T, head string) []row {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := strings.Cut(string(data), "\n"+head+"\n")
	if !ok {
		t.Fatalf("%s has no table %s", page, head)
	}
	columns := cells(head)
	var rows []row
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		c := cells(line)
		if len(c) != len(columns) {
			t.Fatalf("%d cells instead of %d: %s", len(c), len(columns), line)
		}
		if strings.Trim(c[0], "-") == "" {
			continue
		}
		r := row{state: "done"}
		for i, name := range columns {
			switch name {
			case "state":
				r.state = c[i]
			case "shown by":
				r.tests = quoted(c[i])
			case "remark":
				r.remark = c[i]
			default:
				r.names = append(r.names, strings.Trim(c[i], "`"))
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func cells(line string) []string {
	c := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for i := range c {
		c[i] = strings.TrimSpace(c[i])
	}
	return c
}

// quoted returns the words between backquotes.
func quoted(cell string) []string {
	var words []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		words = append(words, m[1])
	}
	return words
}

// check checks what every row must have, and that the tests it names are there.
// A script must have one of these words in it, or it shows nothing of the row.
func (r row) check(t *testing.T, words ...string) {
	t.Helper()
	name := strings.Join(r.names, " ")
	switch r.state {
	case "done":
		if len(r.tests) == 0 {
			t.Errorf("%s: no test shows it", name)
		}
	case "refused", "not applicable":
		if r.remark == "" {
			t.Errorf("%s: nothing says why it is %s", name, r.state)
		}
	default:
		t.Errorf("%s: %q is no state", name, r.state)
	}
	for _, test := range r.tests {
		if dir, function, ok := strings.Cut(test, "/"); ok {
			if !goTests(t)[dir+"/"+function] {
				t.Errorf("%s: there is no Go test %s", name, test)
			}
			continue
		}
		text, err := os.ReadFile(filepath.Join(scripts, test+".txtar"))
		if err != nil {
			t.Errorf("%s: there is no script %s", name, test)
			continue
		}
		if r.state == "done" && !containsAny(string(text), words) {
			t.Errorf("%s: the script %s has none of %q in it", name, test, words)
		}
	}
}

func containsAny(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// found is what goTests has found.
var found map[string]bool

// goTests returns the Go tests of the repository, as DIRECTORY/FUNCTION.
func goTests(t *testing.T) map[string]bool {
	t.Helper()
	if found != nil {
		return found
	}
	found = map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			found[filepath.Base(filepath.Dir(path))+"/"+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
