package doctor

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nothing is a program that ends at once.
func nothing(t *testing.T) Program {
	t.Helper()
	exe, err := os.Open("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { exe.Close() })
	return Program{exe, []string{"true"}}
}

func TestExamine(t *testing.T) {
	lines := Examine(nothing(t))
	seen := map[string]bool{}
	areas := map[string]bool{}
	for _, l := range lines {
		if seen[l.Area+l.Name] {
			t.Errorf("%s: %s is told twice", l.Area, l.Name)
		}
		seen[l.Area+l.Name] = true
		areas[l.Area] = true
		if l.Area == "" || l.Name == "" || l.Found == "" || l.Means == "" {
			t.Errorf("incomplete: %+v", l)
		}
		if l.Status == There == (l.Do != "") {
			t.Errorf("what to do is told exactly where something is to be done: %+v", l)
		}
		for _, text := range []string{l.Found, l.Means, l.Do} {
			if strings.Contains(text, "\n") || strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is not one line without a full stop", l.Name, text)
			}
		}
	}
	for _, a := range []string{"kernel", "cgroups", "namespaces", "users", "security", "filesystems", "tools"} {
		if !areas[a] {
			t.Errorf("nothing is told of %s", a)
		}
	}
}

func TestTry(t *testing.T) {
	p := nothing(t)
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if err := p.Try(unix.CLONE_NEWUTS | unix.CLONE_NEWUSER); err != nil {
		t.Errorf("a uts namespace: %v", err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := (Program{null, []string{"null"}}).Try(unix.CLONE_NEWUTS); err == nil {
		t.Error("a program that cannot be executed is no error")
	}
}

func TestFilesystem(t *testing.T) {
	if found, ok := Filesystem("proc"); !ok {
		t.Errorf("proc: %s", found)
	}
	if found, ok := Filesystem("nosuchfs"); ok || found == "" {
		t.Errorf("nosuchfs: %q, %v", found, ok)
	}
}
