// Package schema checks documents against the JSON schemas that come with the
// runtime-spec module. It knows the part of JSON schema, draft 4, that these
// use; another keyword is an error.
package schema

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Schemas are those of the runtime-spec that gourd is built with.
type Schemas struct {
	dir  string
	read map[string]any
}

// Open finds them, by the go command.
func Open() (*Schemas, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		return nil, fmt.Errorf("the go command, which knows where the schemas are: %w", err)
	}
	return &Schemas{dir: filepath.Join(strings.TrimSpace(string(out)), "schema"), read: map[string]any{}}, nil
}

// Check returns what is wrong with the document, by the schema in file.
func (s *Schemas) Check(file string, document []byte) ([]string, error) {
	root, err := s.load(file)
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(document, &doc); err != nil {
		return []string{err.Error()}, nil
	}
	return s.check(file, root, doc, "$")
}

func (s *Schemas) load(file string) (any, error) {
	if v, ok := s.read[file]; ok {
		return v, nil
	}
	b, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s.read[file] = v
	return v, nil
}

// resolve returns what a $ref found in file stands for, and the file it is in.
func (s *Schemas) resolve(file, ref string) (string, any, error) {
	name, path, _ := strings.Cut(ref, "#")
	if name != "" {
		file = name
	}
	v, err := s.load(file)
	if err != nil {
		return "", nil, err
	}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		m, ok := v.(map[string]any)
		if !ok || m[part] == nil {
			return "", nil, fmt.Errorf("$ref %s in %s leads nowhere", ref, file)
		}
		v = m[part]
	}
	return file, v, nil
}

func (s *Schemas) check(file string, schema, doc any, at string) (problems []string, err error) {
	rules, ok := schema.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: a schema that is no object at %s", file, at)
	}
	below := func(file string, schema, doc any, at string) {
		found, e := s.check(file, schema, doc, at)
		problems = append(problems, found...)
		if err == nil {
			err = e
		}
	}
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	object, _ := doc.(map[string]any)
	list, _ := doc.([]any)
	for key, rule := range rules {
		switch key {
		case "$schema", "description", "title", "format":
		case "$ref":
			f, target, e := s.resolve(file, rule.(string))
			if e != nil {
				return nil, e
			}
			below(f, target, doc, at)
		case "type":
			if got := typeOf(doc); got != rule {
				add("%s is a %s, not a %s", at, got, rule)
			}
		case "required":
			for _, name := range rule.([]any) {
				if object != nil && object[name.(string)] == nil {
					add("%s lacks %s", at, name)
				}
			}
		case "properties":
			for name, sub := range rule.(map[string]any) {
				if object[name] != nil {
					below(file, sub, object[name], at+"."+name)
				}
			}
		case "patternProperties":
			for pattern, sub := range rule.(map[string]any) {
				for name, v := range object {
					if regexp.MustCompile(pattern).MatchString(name) {
						below(file, sub, v, at+"."+name)
					}
				}
			}
		case "items":
			for i, v := range list {
				below(file, rule, v, fmt.Sprintf("%s[%d]", at, i))
			}
		case "enum":
			if !slices.Contains(rule.([]any), doc) {
				add("%s is %v, which is none of %v", at, doc, rule)
			}
		case "pattern":
			if text, ok := doc.(string); ok && !regexp.MustCompile(rule.(string)).MatchString(text) {
				add("%s is %q, which does not match %s", at, text, rule)
			}
		case "minimum":
			if n, ok := doc.(float64); ok && n < rule.(float64) {
				add("%s is %v, which is less than %v", at, n, rule)
			}
		default:
			return nil, fmt.Errorf("%s: the checker does not know %q", file, key)
		}
	}
	return problems, err
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
