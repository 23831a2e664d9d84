// The tests are another package: as part of it they would make it import what
// they import.
package bornwith_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/gourd-oci/gourd/internal/bornwith"
)

// TestNofileIsReadBeforeGoRaisesIt starts this test binary again below a
// shell that sets the limits: the child must report them as they were set,
// although its own current soft limit is another by then.
func TestNofileIsReadBeforeGoRaisesIt(t *testing.T) {
	if os.Getenv("BORNWITH_CHILD") != "" {
		soft, hard, ok := bornwith.Nofile()
		var now syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("born %d %d %v now %d\n", soft, hard, ok, now.Cur)
		return
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 512 && ulimit -Hn 4096 && exec "$0" -test.run='^TestNofileIsReadBeforeGoRaisesIt$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), "BORNWITH_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "born 512 4096 true now 4095\n"; !strings.Contains(string(out), want) {
		t.Errorf("want %q in the output, which is\n%s", want, out)
	}
}

// TestImportsNothing keeps the rule that the order of initialisation rests on.
func TestImportsNothing(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports ","}}`, "github.com/gourd-oci/gourd/internal/bornwith").Output()
	if err != nil {
		t.Skipf("go list does not work here: %v", err)
	}
	path, imports, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if imports != "" {
		t.Errorf("imports %s", imports)
	}
	if path >= "internal/" {
		t.Errorf("the import path %s sorts after internal/", path)
	}
}
