package cli

import (
	"bytes"
	"strings"
	"testing"
)

// TestVersion reads the output as its callers do: Docker takes the line with the
// word "version" and the one that begins with "commit:", containerd the prefix
// "spec: ".
func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"-v"}, {"version"}, {"--root", "/r", "--version"}} {
		r := try(nil, args...)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%q: exit code %d, stderr %q", args, r.code, r.stderr)
		}
		lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
		if lines[0] != "gourd version "+Version {
			t.Errorf("%q: the first line is %q", args, lines[0])
		}
		var spec bool
		for _, l := range lines[1:] {
			if strings.Contains(l, "version") {
				t.Errorf("%q: Docker would take %q for the version", args, l)
			}
			spec = spec || l == "spec: 1.3.0"
		}
		if !spec {
			t.Errorf("%q: no line with the spec's version:\n%s", args, r.stdout)
		}
	}
}

func TestPrintVersionEndsInNewline(t *testing.T) {
	var b bytes.Buffer
	printVersion(&b)
	if !strings.HasSuffix(b.String(), "\n") {
		t.Errorf("got %q", b.String())
	}
}
