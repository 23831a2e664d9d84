package world

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main(m, map[string]Inside{"alone": alone, "leaks": leaks, "ordinary": ordinary, "skips": func(t *T, arg string) { t.Skip(arg) }})
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
	if err != nil || len(entries) != 2 { // see furnish
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

// TestOrdinaryUser shows that nothing of root's is left in the way Rootless, and
// that the cgroup is the user's.
func TestOrdinaryUser(t *testing.T) {
	t.Setenv("GOURD_TEST_WAY", string(Rootless))
	Run(t, "ordinary", "")
}

func ordinary(t *T, _ string) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nUid:\t1000\t1000\t1000\t1000\n", "\nGid:\t1000\t1000\t1000\t1000\n", "\nGroups:\t \n",
		"\nCapInh:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n", "\nCapAmb:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%q is not in:\n%s", want, status)
		}
	}
	for dir, writable := range map[string]bool{
		"/": false, "/etc": false, "/run": false, "/run/user": false, "/sys/fs/cgroup": true, Scratch: true, os.Getenv("XDG_RUNTIME_DIR"): true,
	} {
		err := os.Mkdir(dir+"/made", 0o755)
		if (err == nil) != writable {
			t.Errorf("make a directory in %s: %v", dir, err)
		}
	}
	if err := os.WriteFile("/sys/fs/cgroup/made/cgroup.procs", []byte("1"), 0); err != nil {
		t.Errorf("a cgroup of the user's own: %v", err)
	}
	uids, gids, err := Rootless.Maps()
	if err != nil || len(uids) != 2 || len(gids) != 2 || uids[0] != (IDMap{0, UserID, 1}) || uids[1].Size < 65535 {
		t.Errorf("the ids are %v, %v, %v", uids, gids, err)
	}
	if id, err := ToHost(uids, 7); err != nil || id != uids[1].HostID+6 {
		t.Errorf("7 is %d of the host's, %v", id, err)
	}
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
