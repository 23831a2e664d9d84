package libcontainer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// A `delete --force` that found no record waits for the create that is under
// way. What it finds then may be a whole container, which is not removed from
// under its processes.
func TestDeleteHalfMade(t *testing.T) {
	root := t.TempDir()
	var undo cleanup.Stack
	dir, err := state.Reserve(root, "web", &undo)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Save(&state.Record{ID: "web"}); err != nil { // create's, in the meantime
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if err := deleteHalfMade(root, "web"); err != nil {
		t.Errorf("with a record: %v, want nil, so that the container is looked at again", err)
	}
	record := filepath.Join(root, "web", "state.json")
	if err := os.Remove(record); err != nil {
		t.Fatalf("the container was taken for half-made: %v", err)
	}
	for _, when := range []string{"half-made", "removed"} {
		if err := deleteHalfMade(root, "web"); !errors.Is(err, state.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", when, err)
		}
	}
	if left, err := state.List(root); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
