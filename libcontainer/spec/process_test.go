package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "process.json")
	for _, tt := range []struct{ text, err string }{
		{`{"args": ["a", "b"], "cwd": "/", "user": {"uid": 7, "additionalGids": [1]}}`, ""},
		{`{"args": "a"}`, "args"},
		{`{"args": ["a"], "user": {"uid": -1}}`, "user.uid"},
		{`{"args": ["a"]`, "line 1"},
		{`[]`, "object"},
		{`null`, "object"},
		{``, "object"},
		{`{} {}`, "more after"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, _, err := LoadProcess(file)
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("%s: %v", tt.text, err)
		case tt.err == "":
			if len(p.Args) != 2 || p.Args[1] != "b" || p.User.UID != 7 || len(p.User.AdditionalGids) != 1 {
				t.Errorf("%s: got %+v", tt.text, p)
			}
		case err == nil || !strings.Contains(err.Error(), tt.err):
			t.Errorf("%s: got %v, want an error with %q", tt.text, err, tt.err)
		}
	}
}
