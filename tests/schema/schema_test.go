package schema

import "testing"

// The checker must find what is wrong, and nothing else.
func TestCheck(t *testing.T) {
	s, err := Open()
	if err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		file, doc string
		right     bool
	}{
		{"features-schema.json", `{"ociVersionMin":"1.0.0","ociVersionMax":"1.3.0"}`, true},
		{"features-schema.json", `{}`, false},
		{"features-schema.json", `{"ociVersionMin":"1","ociVersionMax":1}`, false},
		{"features-schema.json", `{"ociVersionMin":"1","ociVersionMax":"1","hooks":[1]}`, false},
		{"features-schema.json", `{"ociVersionMin":"1","ociVersionMax":"1","linux":{"namespaces":["mnt"]}}`, false},
		{"features-schema.json", `{"ociVersionMin":"1","ociVersionMax":"1","linux":{"capabilities":["chown"]}}`, false},
		{"features-schema.json", `{"ociVersionMin":"1","ociVersionMax":"1","linux":{"seccomp":{"archs":["x86"]}}}`, false},
		{"features-schema.json", `{"ociVersionMin":"1","ociVersionMax":"1","linux":{"cgroup":{"v1":"no"}}}`, false},
		{"state-schema.json", `{"ociVersion":"1.3.0","id":"a","status":"running","pid":1,"bundle":"/b"}`, true},
		{"state-schema.json", `{"ociVersion":"1.3.0","id":"a","status":"dead","pid":1,"bundle":"/b"}`, false},
		{"state-schema.json", `{"ociVersion":"1.3.0","id":"a","status":"running","pid":-1,"bundle":"/b"}`, false},
		{"state-schema.json", `{"ociVersion":"1.3.0","id":"a","status":"running"}`, false},
		{"state-schema.json", `{"ociVersion":"1.3.0","id":"a","status":"running","bundle":"/b","annotations":{"a":1}}`, false},
		{"state-schema.json", `no JSON`, false},
	} {
		problems, err := s.Check(tt.file, []byte(tt.doc))
		if err != nil {
			t.Fatal(err)
		}
		if (len(problems) == 0) != tt.right {
			t.Errorf("%s, %s: %q", tt.file, tt.doc, problems)
		}
	}
}
