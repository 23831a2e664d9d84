package hooksd

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, doc, err string }{
		{"good", `{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true},"stages":["poststop","precreate"]}`, ""},
		{"version", `{"version":"0.1.0","hook":{"path":"/bin/true"},"when":{"always":true},"stages":["poststop"]}`, "version"},
		{"relative", `{"version":"1.0.0","hook":{"path":"true"},"when":{"always":true},"stages":["poststop"]}`, "absolute"},
		{"no condition", `{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{},"stages":["poststop"]}`, "no condition"},
		{"unknown condition", `{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true,"never":true},"stages":["poststop"]}`, "never"},
		{"bad expression", `{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"commands":["("]},"stages":["poststop"]}`, "commands"},
		{"unknown stage", `{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true},"stages":["later"]}`, "later"},
		{"no stage", `{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true},"stages":[]}`, "stages"},
		{"timeout", `{"version":"1.0.0","hook":{"path":"/bin/true","timeout":0},"when":{"always":true},"stages":["poststop"]}`, "timeout"},
	} {
		_, err := Parse([]byte(tt.doc))
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
}

func TestMatches(t *testing.T) {
	yes, no := true, false
	s := &specs.Spec{Process: &specs.Process{Args: []string{"/usr/bin/nginx", "-g"}}, Annotations: map[string]string{"io.hooks": "on"}}
	for _, tt := range []struct {
		name string
		when When
		bind bool
		want bool
	}{
		{"always", When{Always: &yes}, false, true},
		{"always not", When{Always: &no, Commands: []string{"nginx"}}, false, false},
		{"annotation", When{Annotations: map[string]string{"^io\\.": "^on$"}}, false, true},
		{"annotation with another value", When{Annotations: map[string]string{"^io\\.": "^off$"}}, false, false},
		{"command", When{Commands: []string{"^/bin/sh$", "nginx$"}}, false, true},
		{"only the program is the command", When{Commands: []string{"-g"}}, false, false},
		{"bind mounts", When{HasBindMounts: &yes}, true, true},
		{"no bind mounts", When{HasBindMounts: &yes}, false, false},
		{"none wanted", When{HasBindMounts: &no}, true, false},
		{"every condition must hold", When{Commands: []string{"nginx"}, HasBindMounts: &yes}, false, false},
	} {
		if got := tt.when.Matches(s, tt.bind); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestReadAndApply(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write := func(name, path, stages string) {
		t.Helper()
		doc := `{"version":"1.0.0","hook":{"path":"` + path + `"},"when":{"always":true},"stages":[` + stages + `]}`
		if err := os.WriteFile(name, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a+"/20-second.json", "/bin/second", `"poststop"`)
	write(a+"/10-First.json", "/bin/first", `"poststop","createRuntime"`)
	write(a+"/30-third.json", "/bin/overridden", `"poststop"`)
	write(b+"/30-third.json", "/bin/third", `"poststop","precreate"`)
	write(a+"/ignored.txt", "relative", `"x"`)
	hooks, err := Read([]string{a, b})
	if err != nil {
		t.Fatal(err)
	}
	s := &specs.Spec{}
	pre := Apply(hooks, s, false)
	var got []string
	for _, h := range s.Hooks.Poststop {
		got = append(got, h.Path)
	}
	if want := []string{"/bin/first", "/bin/second", "/bin/third"}; !slices.Equal(got, want) {
		t.Errorf("poststop is %q, want %q", got, want)
	}
	if len(pre) != 1 || pre[0].Hook.Path != "/bin/third" || len(s.Hooks.CreateRuntime) != 1 {
		t.Errorf("precreate %v, createRuntime %v", pre, s.Hooks.CreateRuntime)
	}
	if _, err := Read([]string{a + "/absent"}); err == nil {
		t.Error("a directory that is not there is no error")
	}
}

func TestFilter(t *testing.T) {
	in := []byte(`{"hostname":"a","process":{"args":["x"],"cwd":"/"}}`)
	h := Hook{Name: "h", Hook: specs.Hook{Path: "/bin/sed", Args: []string{"sed", "s/\"a\"/\"b\"/"}}}
	out, err := h.Filter(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Diff(in, out)
	if err != nil || !slices.Equal(d, []string{`hostname: "a" -> "b"`}) {
		t.Errorf("the difference is %q, %v", d, err)
	}
	for name, h := range map[string]Hook{
		"it fails":      {Hook: specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "echo no such luck >&2; exit 3"}}},
		"no config":     {Hook: specs.Hook{Path: "/bin/echo", Args: []string{"echo", "hello"}}},
		"nothing":       {Hook: specs.Hook{Path: "/bin/true"}},
		"not there":     {Hook: specs.Hook{Path: "/bin/absent-program"}},
		"other version": {Hook: specs.Hook{Path: "/bin/echo", Args: []string{"echo", `{"process": 1}`}}},
	} {
		if _, err := h.Filter(context.Background(), in); err == nil {
			t.Errorf("%s: no error", name)
		} else if name == "it fails" && !strings.Contains(err.Error(), "no such luck") {
			t.Errorf("what the hook said is not in %v", err)
		}
	}
}
