package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"golang.org/x/sys/unix"
)

// fake makes a directory with the files of a cgroup, for what this kernel's
// hierarchy has no controllers for. It shows what is written, not what the
// kernel makes of it.
func fake(t *testing.T, files map[string]string) *Cgroup {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "a", "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if strings.HasPrefix(name, "/") { // relative to the root
			name = filepath.Join(root, name)
		} else {
			name = filepath.Join(dir, name)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cgroup{fd: fd, rec: Record{Path: dir, Root: root}}
	t.Cleanup(func() { c.Close() })
	return c
}

// content returns what a file of a fake cgroup has in it.
func content(t *testing.T, c *Cgroup, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Path(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestApplyWrites(t *testing.T) {
	c := fake(t, map[string]string{"memory.max": "", "io.weight": "", "pids.max": ""})
	fallback := Write{File: "io.weight", Value: "8:0 1"}
	err := c.apply([]Write{
		{File: "memory.max", Value: "1000"},
		{File: "memory.swap.max", Value: "0", Optional: true},
		{File: "io.bfq.weight", Value: "8:0 10", Else: &fallback},
		{File: "pids.max", Value: "5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "1000", "io.weight": "8:0 1", "pids.max": "5"} {
		if got := content(t, c, file); got != want {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(c.Path(), "memory.swap.max")); err == nil {
		t.Error("a file was made, which a cgroup would not let")
	}
}

func TestApplySaysWhatIsMissing(t *testing.T) {
	pids := must("pids", "pids.max", "100", "pids.limit")
	for _, tt := range []struct {
		name  string
		files map[string]string
		w     Write
		fails []enableFailure
		want  string
	}{
		{"in a parent", map[string]string{"/cgroup.controllers": "cpu pids", "/a/cgroup.controllers": "cpu pids", "cgroup.controllers": "cpu"}, pids, nil,
			`linux.resources.pids.limit: write pids.max "100" in /a/web: the pids controller is not enabled here; enable it in ROOT/a/cgroup.subtree_control`},
		{"further up", map[string]string{"/cgroup.controllers": "cpu pids", "/a/cgroup.controllers": "", "cgroup.controllers": ""}, pids, nil,
			`linux.resources.pids.limit: write pids.max "100" in /a/web: the pids controller is not enabled here; enable it in ROOT/cgroup.subtree_control`},
		{"on the host", map[string]string{"/cgroup.controllers": "cpu"}, pids, nil,
			`linux.resources.pids.limit: write pids.max "100" in /a/web: cgroup v2 has no pids controller on this host, see ROOT/cgroup.controllers: the kernel lacks it, or cgroup v1 has taken it (boot with cgroup_no_v1=pids, or with systemd.unified_cgroup_hierarchy=1)`},
		{"because of processes", map[string]string{"/cgroup.controllers": "memory"}, must("memory", "memory.max", "5", "memory.limit"),
			[]enableFailure{{"/sys/fs/cgroup/a", "memory", unix.EBUSY}},
			`linux.resources.memory.limit: write memory.max "5" in /a/web: the memory controller cannot be enabled in /sys/fs/cgroup/a/cgroup.subtree_control: device or resource busy: /sys/fs/cgroup/a has processes of its own, and only a cgroup without may give this controller to its children; move them into a sub-cgroup, or choose another cgroupsPath`},
		{"because it is threaded", nil, must("memory", "memory.max", "5", "memory.limit"),
			[]enableFailure{{"/sys/fs/cgroup/a", "memory", unix.EOPNOTSUPP}},
			`linux.resources.memory.limit: write memory.max "5" in /a/web: the memory controller cannot be enabled in /sys/fs/cgroup/a/cgroup.subtree_control: operation not supported: /sys/fs/cgroup/a is threaded, and this controller works on whole processes only; choose another cgroupsPath`},
		{"because of rights", nil, must("cpuset", "cpuset.cpus", "5", "cpu.cpus"),
			[]enableFailure{{"/sys/fs/cgroup/a", "cpuset", unix.EACCES}},
			`linux.resources.cpu.cpus: write cpuset.cpus "5" in /a/web: the cpuset controller cannot be enabled in /sys/fs/cgroup/a/cgroup.subtree_control: permission denied: this user may not; let the owner delegate it (with systemd: Delegate=cpuset)`},
		{"in the kernel", map[string]string{"/cgroup.controllers": "cpu", "/a/cgroup.controllers": "cpu", "cgroup.controllers": "cpu"}, must("cpu", "cpu.max.burst", "1", "cpu.burst"), nil,
			`linux.resources.cpu.burst: write cpu.max.burst "1" in /a/web: the cpu controller is enabled here, but this kernel has no such file in it`},
		{"a core file", nil, must("", "cgroup.nothing", "1", "unified.cgroup.nothing"), nil,
			`linux.resources.unified.cgroup.nothing: write cgroup.nothing "1" in /a/web: this kernel has no such file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fake(t, tt.files)
			c.enabled = tt.fails
			err := c.apply([]Write{tt.w})
			if !errors.Is(err, unix.ENOENT) {
				t.Errorf("%v is not ENOENT", err)
			}
			if got := strings.ReplaceAll(err.Error(), c.rec.Root, "ROOT"); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestMissingControllerFailsCreate shows that a late limit, too, fails before
// there is a container.
func TestMissingControllerFailsCreate(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root)+"/probe")
	has, err := readAt(c.FD(), "cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	if len(lacking(has, []string{"pids"})) == 0 {
		t.Skip("this host's cgroup v2 has the pids controller")
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	path := "/gourd-test-" + strings.ToLower(t.Name())
	late := must("pids", "pids.max", "100", "pids.limit")
	p := Plan{Manager: ManagerFS, Root: root, Path: path, Required: true, Late: []Write{late}}
	var undo cleanup.Stack
	c, err = Create(&p, &undo)
	if err == nil {
		c.Close()
	}
	want := `linux.resources.pids.limit: write pids.max "100" in ` + path + `: cgroup v2 has no pids controller on this host, see ` + root + `/cgroup.controllers: the kernel lacks it, or cgroup v1 has taken it (boot with cgroup_no_v1=pids, or with systemd.unified_cgroup_hierarchy=1)`
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if err := undo.Run(); err != nil {
		t.Error(err)
	}
	// Without the limit, or with one that is none, the container runs.
	late.Value, late.Optional = "max", true
	p.Late = []Write{late}
	c = createPlan(t, &p)
	if err := c.Late(&p); err != nil {
		t.Error(err)
	}
}

func TestEnable(t *testing.T) {
	c := fake(t, map[string]string{
		"/cgroup.controllers": "cpu cpuset io memory pids", "/cgroup.subtree_control": "cpu memory",
		"/a/cgroup.controllers": "cpu memory", "/a/cgroup.subtree_control": "",
	})
	for dir, want := range map[string]string{
		c.rec.Root:        "+hugetlb +io +pids"[len("+hugetlb "):], // hugetlb is not to be had
		c.rec.Root + "/a": "+cpu +memory",
	} {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		failed := enable(fd, dir, []string{"cpu", "hugetlb", "io", "memory", "pids"})
		unix.Close(fd)
		if failed != nil {
			t.Errorf("%s: %v", dir, failed)
		}
		data, err := os.ReadFile(dir + "/cgroup.subtree_control")
		if err != nil {
			t.Fatal(err)
		}
		// A plain file is overwritten from its start, where a cgroup's takes a command.
		if !strings.HasPrefix(string(data), want) {
			t.Errorf("%s: %q was written, want %q", dir, data, want)
		}
	}
}

func TestCheckMemory(t *testing.T) {
	c := fake(t, map[string]string{"memory.current": "700\n", "memory.swap.current": "100\n"})
	for _, tt := range []struct {
		limit, swap int64
		fails       string
	}{
		{0, 0, ""}, {-1, 0, ""}, {-1, -1, ""},
		{701, 0, ""}, {700, 0, "limit: 700 bytes"}, {1, 0, "limit: 700 bytes"},
		// There may be no swap to make room with.
		{700, -1, "limit: 700 bytes"}, {700, 5000, "limit: 700 bytes"},
		{701, -1, ""}, {701, 801, ""}, {701, 800, "swap: 800 bytes of memory and swap"}, {-1, 800, "swap: 800 bytes of memory and swap"},
	} {
		err := c.checkMemory(&Plan{CheckMemory: true, MemoryLimit: tt.limit, MemorySwapLimit: tt.swap, MemoryFrom: "limit", MemorySwapFrom: "swap"})
		if (err != nil) != (tt.fails != "") || err != nil && !strings.HasPrefix(err.Error(), tt.fails) {
			t.Errorf("limit %d, with swap %d: %v, want %q", tt.limit, tt.swap, err, tt.fails)
		}
		if err != nil && !errors.Is(err, unix.EBUSY) {
			t.Errorf("limit %d, with swap %d: %v is not EBUSY", tt.limit, tt.swap, err)
		}
	}
	if err := c.checkMemory(&Plan{MemoryLimit: 1}); err != nil {
		t.Errorf("checked though not asked: %v", err)
	}
}
