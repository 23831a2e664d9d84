package world

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main(m, map[string]Inside{"alone": alone, "leaks": leaks, "skips": func(t *T, arg string) { t.Skip(arg) }})
}

// TestAlone shows that a world is empty, and the machine's mounts are not in
// its way.
func TestAlone(t *testing.T) { Run(t, "alone", "an argument") }

func alone(t *T, arg string) {
	if arg != "an argument" {
		t.Errorf("the argument is %q", arg)
	}
	if ps, err := processes(); err != nil || len(ps) != 0 {
		t.Errorf("processes: %v, %v", ps, err)
	}
	entries, err := os.ReadDir("/run")
	if err != nil || len(entries) != 1 { // mount, see furnish
		t.Errorf("/run has %v, %v", entries, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Errorf("/sys/fs/cgroup is %#x, %v", st.Type, err)
	}
	cg, err := cgroups()
	if want := "cgroup /sys/fs/cgroup/suite cgroup /sys/fs/cgroup"; err != nil || strings.Join(cg, " ") != want {
		t.Errorf("cgroups: %q, %v", cg, err)
	}
}

// TestLeaksAreSeen leaves one of each behind, and the count must say so.
func TestLeaksAreSeen(t *testing.T) { Run(t, "leaks", "") }

func leaks(t *T, _ string) {
	before, err := Take("/run")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("/run/left", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("left", "/run/left", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("/sys/fs/cgroup/left", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := before.Since("/run")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(changes, "\n")
	for _, want := range []string{
		"+ process ", "sleep 1000",
		"+ mount / /run/left ",
		"+ cgroup /sys/fs/cgroup/left",
		"+ file /run/left ",
		" /etc/passwd",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not seen in:\n%s", want, all)
		}
	}
	f.Close()
}

// TestSkip shows that an inside's skip reaches the test outside.
func TestSkip(t *testing.T) {
	var skipped bool
	t.Run("inside", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Run(t, "skips", "for no reason")
	})
	if !skipped {
		t.Error("not skipped")
	}
}
