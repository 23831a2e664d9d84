package systemd

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpdate changes the limits of a scope: the kernel and systemd have the same
// then, all of it or nothing.
func TestUpdate(t *testing.T) {
	u := root(t)
	unit := "gourd-" + u.slug + ".scope"
	bundle := u.bundle("b", "sleep 1000", func(c config) {
		limits(c)
		c.linux()["cgroupsPath"] = "system.slice:gourd:" + u.slug
		c.linux()["devices"] = []any{map[string]any{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}}
	})
	cg := u.cgroupOf(u.create(bundle, "c"))
	u.gourd("start", "c")
	want := func(when string, told, files map[string]string) {
		t.Helper()
		t.Log(when)
		u.wantProperty(unit, told)
		// systemd must not put anything else in their place when it looks again.
		u.run("systemctl", "daemon-reload")
		for name, value := range files {
			wantFile(t, cg+"/"+name, value)
		}
	}
	u.gourd("update", "--memory", "96M", "--memory-swap", "100M", "--pids-limit", "20", "--cpu-quota", "33333", "c")
	told := map[string]string{
		"MemoryMax": "100663296", "MemorySwapMax": "4194304", "MemoryLow": "33554432", "TasksMax": "20",
		"CPUQuotaPerSecUSec": "670ms", "CPUQuotaPeriodUSec": "50ms",
	}
	files := map[string]string{"memory.max": "100663296", "memory.swap.max": "4194304", "memory.low": "33554432", "pids.max": "20"}
	want("updated", told, files)

	// systemd writes what it knows of a controller as a whole, and knows a quota
	// rounded only: what is not to change stays as it was asked for.
	files["cpu.max"] = "33333 50000"
	u.gourd("update", "--cpu-share", "100", "c")
	files["cpu.weight"] = "17"
	want("a weight", told, files)

	// What the kernel refuses changes nothing in either.
	out, err := u.mayGourd("update", "--memory", "90M", "--pids-limit", "19", "--cpuset-cpus", "4000", "c")
	if err == nil || !strings.Contains(out, "--cpuset-cpus: write cpuset.cpus") {
		t.Errorf("processor 4000: %v, %s", err, out)
	}
	want("refused", told, files)
	u.wantProperty(unit, map[string]string{"AllowedCPUs": ""})

	// No limit, the set of processors, and one more device.
	file := filepath.Join(u.dir, "limits.json")
	text := `{"memory": {"limit": -1}, "cpu": {"quota": -1, "cpus": "1"}, "pids": {"limit": -1},
		"devices": [{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}]}`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// (To read it takes a capability, too.)
	if out, err := u.mayGourd("exec", "c", "sh", "-c", ": >/dev/kmsg"); err == nil || !strings.Contains(out, "Operation not permitted") {
		t.Errorf("/dev/kmsg could be opened: %v, %q", err, out)
	}
	u.gourd("update", "--resources", file, "c")
	want("without limits", map[string]string{
		"MemoryMax": "infinity", "MemorySwapMax": "infinity", "TasksMax": "infinity", "CPUQuotaPerSecUSec": "infinity", "AllowedCPUs": "1",
	}, map[string]string{"memory.max": "max", "memory.swap.max": "max", "pids.max": "max", "cpuset.cpus": "1"})
	u.gourd("exec", "c", "sh", "-c", ": >/dev/kmsg")

	// Idle, and with the weight of before.
	u.gourd("update", "--cpu-idle", "1", "c")
	want("idle", map[string]string{"CPUWeight": "idle"}, map[string]string{"cpu.idle": "1"})
	u.gourd("update", "--cpu-share", "1024", "c")
	want("idle", map[string]string{"CPUWeight": "idle"}, map[string]string{"cpu.idle": "1"})
	u.gourd("update", "--cpu-idle", "0", "c")
	want("not idle", map[string]string{"CPUWeight": "100"}, map[string]string{"cpu.idle": "0", "cpu.weight": "100"})
	u.gourd("delete", "--force", "c")
	u.wantNoUnit(unit)
}

// TestUserUpdate does it with an ordinary user's own systemd, where the kernel
// takes no device program from gourd; and watches for the OOM killer there.
func TestUserUpdate(t *testing.T) {
	u := tester(t)
	unit := "gourd-" + u.slug + ".scope"
	cg := u.cgroupOf(u.create(u.bundle("b", "sleep 1000", func(c config) {
		c.linux()["cgroupsPath"] = "user.slice:gourd:" + u.slug
	}), "c"))
	u.gourd("start", "c")
	u.gourd("update", "--memory", "32M", "--memory-swap", "32M", "--pids-limit", "44", "c")
	u.wantProperty(unit, map[string]string{"MemoryMax": "33554432", "MemorySwapMax": "0", "TasksMax": "44"})
	wantFile(t, cg+"/memory.max", "33554432")
	wantFile(t, cg+"/pids.max", "44")

	file := filepath.Join(u.dir, "devices.json")
	if err := os.WriteFile(file, []byte(`{"devices": [{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := u.mayGourd("update", "-r", file, "c"); err == nil || !strings.Contains(out, "--resources: devices: ") {
		t.Errorf("devices: %v, %s", err, out)
	}

	if out := u.gourd("events", "--stats", "c"); !strings.Contains(out, `"limit":33554432`) {
		t.Errorf("stats: %s", out)
	}
	u.mayGourd("exec", "c", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	watch := u.command(u.line([]string{"events", "--interval", "1000h", "c"})...)
	events, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	// It tells of what was before it, and ends with the container.
	told := bufio.NewReader(events)
	if line, err := told.ReadString('\n'); line != `{"type":"oom","id":"c"}`+"\n" {
		t.Errorf("events: %q, %v", line, err)
	}
	u.gourd("delete", "--force", "c")
	if rest, err := io.ReadAll(told); err != nil || len(rest) > 0 {
		t.Errorf("events, at the end: %q, %v", rest, err)
	}
	if err := watch.Wait(); err != nil {
		t.Error(err)
	}
	u.wantNoUnit(unit)
}
