package cli

import (
	"bytes"
	"testing"

	"github.com/gourd-oci/gourd/libcontainer"
)

func twoContainers() []libcontainer.State {
	const at = "2026-01-02T03:04:05.6789Z"
	return []libcontainer.State{
		{OCIVersion: "1.3.0", ID: "a", InitPID: 4711, Status: "running", Bundle: "/b/a", Rootfs: "/b/a/rootfs", Created: at, Owner: "root"},
		{OCIVersion: "1.3.0", ID: "a-longer-name", Status: "stopped", Bundle: "/b/a-longer-name", Created: at, Owner: "#12",
			Annotations: map[string]string{"k": "<v>"}},
	}
}

func TestListTable(t *testing.T) {
	var b bytes.Buffer
	if err := printTable(&b, twoContainers()); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"ID              PID         STATUS      BUNDLE             CREATED                     OWNER\n" +
		"a               4711        running     /b/a               2026-01-02T03:04:05.6789Z   root\n" +
		"a-longer-name   0           stopped     /b/a-longer-name   2026-01-02T03:04:05.6789Z   #12\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestListIDs(t *testing.T) {
	var b bytes.Buffer
	if err := printIDs(&b, twoContainers()); err != nil {
		t.Fatal(err)
	}
	if want := "a\na-longer-name\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestStateJSON(t *testing.T) {
	var b bytes.Buffer
	if err := writeJSON(&b, &twoContainers()[1], "  "); err != nil {
		t.Fatal(err)
	}
	want := `{
  "ociVersion": "1.3.0",
  "id": "a-longer-name",
  "pid": 0,
  "status": "stopped",
  "bundle": "/b/a-longer-name",
  "rootfs": "",
  "created": "2026-01-02T03:04:05.6789Z",
  "annotations": {
    "k": "<v>"
  },
  "owner": "#12"
}
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestListEmpty: the default root need not exist, and no containers are an empty
// list, not null.
func TestListEmpty(t *testing.T) {
	plainEnv(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--root", dir, "list", "--format", "json"}, "[]\n"},
		{[]string{"--root", dir, "list", "-q"}, ""},
		{[]string{"--root", dir, "list"}, "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"},
	} {
		if r := try(nil, tt.args...); r.code != 0 || r.stdout != tt.want {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", tt.args, r.code, r.stdout, r.stderr)
		}
	}
	if list, err := listContainers(dir+"/none", false); err != nil || list == nil || len(list) != 0 {
		t.Errorf("a default root that does not exist: got %v, %v", list, err)
	}
	if _, err := listContainers(dir+"/none", true); err == nil {
		t.Error("a given root that does not exist: want an error")
	}
}
