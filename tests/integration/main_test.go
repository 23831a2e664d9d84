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
		"script":   runScript,
		"via init": runViaInit,
	}, prepareDebian)
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
	runAll(t, "script", "*")
}

// TestViaInit runs the scripts once more, with each create, run and exec that could
// do without a Go program inside going the other way, through gourd's init.
func TestViaInit(t *testing.T) {
	if os.Geteuid() == 0 {
		rt, err := world.FindRuntime()
		if err != nil {
			t.Fatal(err)
		}
		if rt.Kind != "gourd" {
			t.Skip("only gourd has two ways")
		}
	}
	runAll(t, "via init", "*")
}

func runAll(t *testing.T, inside, names string) {
	scripts, err := filepath.Glob("testdata/" + names + ".txtar")
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
			world.Run(t, inside, s)
		})
	}
}

func runViaInit(t *world.T, script string) {
	if err := os.Setenv(viaInitEnv, "--via-init"); err != nil {
		t.Fatal(err)
	}
	runScript(t, script)
}

// viaInitEnv is the variable whose value each create, run and exec of a script gets
// as a flag.
const viaInitEnv = "VIA"
