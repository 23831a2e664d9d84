package features

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSchema holds the document against the JSON schema that comes with the
// runtime-spec module.
func TestSchema(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		t.Skipf("the go command, which knows where the schema is, does not run: %v", err)
	}
	s := schemas{dir: filepath.Join(strings.TrimSpace(string(out)), "schema"), read: map[string]any{}}
	root := s.load(t, "features-schema.json")

	text, err := json.Marshal(Supported("1.2.3", "abc"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, problem := range s.check(t, "features-schema.json", root, doc, "$") {
		t.Error(problem)
	}

	// The checker itself: it must find what is wrong.
	for _, wrong := range []string{
		`{}`,
		`{"ociVersionMin":"1","ociVersionMax":1}`,
		`{"ociVersionMin":"1","ociVersionMax":"1","hooks":[1]}`,
		`{"ociVersionMin":"1","ociVersionMax":"1","linux":{"namespaces":["mnt"]}}`,
		`{"ociVersionMin":"1","ociVersionMax":"1","linux":{"capabilities":["chown"]}}`,
		`{"ociVersionMin":"1","ociVersionMax":"1","linux":{"seccomp":{"archs":["x86"]}}}`,
		`{"ociVersionMin":"1","ociVersionMax":"1","linux":{"cgroup":{"v1":"no"}}}`,
	} {
		var doc any
		if err := json.Unmarshal([]byte(wrong), &doc); err != nil {
			t.Fatal(err)
		}
		if len(s.check(t, "features-schema.json", root, doc, "$")) == 0 {
			t.Errorf("the checker accepts %s", wrong)
		}
	}
}

// schemas checks documents against the part of JSON schema, draft 4, that the
// runtime-spec uses; a keyword that it does not know fails the test.
type schemas struct {
	dir  string
	read map[string]any
}

func (s *schemas) load(t *testing.T, file string) any {
	t.Helper()
	if v, ok := s.read[file]; ok {
		return v
	}
	b, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	s.read[file] = v
	return v
}

// resolve returns what a $ref found in file stands for, and the file it is in.
func (s *schemas) resolve(t *testing.T, file, ref string) (string, any) {
	t.Helper()
	name, path, _ := strings.Cut(ref, "#")
	if name != "" {
		file = name
	}
	v := s.load(t, file)
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		m, ok := v.(map[string]any)
		if !ok || m[part] == nil {
			t.Fatalf("$ref %s in %s leads nowhere", ref, file)
		}
		v = m[part]
	}
	return file, v
}

func (s *schemas) check(t *testing.T, file string, schema, doc any, at string) (problems []string) {
	t.Helper()
	rules, ok := schema.(map[string]any)
	if !ok {
		t.Fatalf("%s: a schema that is no object at %s", file, at)
	}
	for key, rule := range rules {
		switch key {
		case "$schema", "description", "title", "format":
		case "$ref":
			f, target := s.resolve(t, file, rule.(string))
			problems = append(problems, s.check(t, f, target, doc, at)...)
		case "type":
			if got := typeOf(doc); got != rule {
				problems = append(problems, fmt.Sprintf("%s is a %s, not a %s", at, got, rule))
			}
		case "required":
			for _, name := range rule.([]any) {
				if m, ok := doc.(map[string]any); ok && m[name.(string)] == nil {
					problems = append(problems, fmt.Sprintf("%s lacks %s", at, name))
				}
			}
		case "properties":
			for name, sub := range rule.(map[string]any) {
				if m, ok := doc.(map[string]any); ok && m[name] != nil {
					problems = append(problems, s.check(t, file, sub, m[name], at+"."+name)...)
				}
			}
		case "patternProperties":
			for pattern, sub := range rule.(map[string]any) {
				m, _ := doc.(map[string]any)
				for name, v := range m {
					if regexp.MustCompile(pattern).MatchString(name) {
						problems = append(problems, s.check(t, file, sub, v, at+"."+name)...)
					}
				}
			}
		case "items":
			list, _ := doc.([]any)
			for i, v := range list {
				problems = append(problems, s.check(t, file, rule, v, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "enum":
			if !slices.Contains(rule.([]any), doc) {
				problems = append(problems, fmt.Sprintf("%s is %v, which is none of %v", at, doc, rule))
			}
		case "pattern":
			if text, ok := doc.(string); ok && !regexp.MustCompile(rule.(string)).MatchString(text) {
				problems = append(problems, fmt.Sprintf("%s is %q, which does not match %s", at, text, rule))
			}
		default:
			t.Fatalf("%s: the checker does not know %q", file, key)
		}
	}
	return problems
}

func typeOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		return "integer"
	}
	return "null"
}
