package layers

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestRuntimeLinksNoCompanion checks that the runtime pays nothing for what
// its companions need: every package that is linked costs at every start.
func TestRuntimeLinksNoCompanion(t *testing.T) {
	cmd := exec.Command("go", "list", "-tags", "urfave_cli_no_docs", "-deps", ".")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"libcontainer") {
		t.Fatalf("go list does not show libcontainer: %d packages", len(deps))
	}
	for _, d := range deps {
		for _, not := range []string{
			module + "prepare", module + "supervise", "net/http", "archive/tar",
			"github.com/google/go-containerregistry", "github.com/klauspost/compress", "github.com/opencontainers/image-spec",
		} {
			if d == not || strings.HasPrefix(d, not+"/") {
				t.Errorf("gourd links %s", d)
			}
		}
	}
}

// TestPrepareUsesThePublicFace checks that prepare and its command reach into
// no part of libcontainer: they execute the runtime.
func TestPrepareUsesThePublicFace(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir != "prepare" && !strings.HasPrefix(s.dir, "prepare/") && s.dir != "cmd/gourd-prepare" {
			continue
		}
		for _, i := range s.file.Imports {
			if p := strings.Trim(i.Path.Value, `"`); strings.HasPrefix(p, module+"libcontainer/") {
				t.Errorf("%s imports %s", s.path, p)
			}
		}
	}
}
