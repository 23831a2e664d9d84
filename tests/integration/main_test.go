package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

func TestMain(m *testing.M) {
	world.Main(m, map[string]world.Inside{
		"script": runScript,
	})
}

// TestScripts runs every script of testdata. One alone:
//
//	GOURD_RUNTIME=runc go test ./tests/integration -run 'TestScripts/^kill$' -v
func TestScripts(t *testing.T) {
	if os.Geteuid() == 0 {
		if _, err := world.FindRuntime(); err != nil {
			t.Fatal(err)
		}
	}
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) == 0 {
		t.Fatal("no scripts in testdata")
	}
	slices.Sort(scripts)
	for _, s := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(s), ".txtar"), func(t *testing.T) {
			t.Parallel()
			world.Run(t, "script", s)
		})
	}
}
