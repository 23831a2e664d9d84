package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdDebian is "debian DIR [JQ]...": a bundle in DIR whose rootfs is a Debian
// (made by tests/debian-rootfs; what the container writes goes to an overlay)
// and whose config.json is one that Docker wrote for "docker run", with only
// what named Docker's own files adapted, and edited by each JQ.
func cmdDebian(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: debian DIR [jq expression]...")
	}
	edits := []string{
		// The files that Docker generates for each container.
		`(.mounts[] | select(.source | startswith("/var/lib/docker"))).source |= "\($WORK)/docker/" + (split("/") | last)`,
		// Docker's hook tells Docker; this one tells the test.
		`.hooks.prestart = [{path: "/bin/sh", args: ["sh", "-c", "cat >\($WORK)/docker/prestart"]}]`,
	}
	debian(ts, args[0], "docker-20.10-run-sleep.json", append(edits, args[1:]...))
	writeFiles(ts, "docker", map[string]string{
		"hostname":    "7dcaaa1d404a\n",
		"hosts":       "127.0.0.1\tlocalhost\n",
		"resolv.conf": "nameserver 192.0.2.1\n",
	})
}

// cmdPodman is "podman DIR [JQ]...": the same with a config.json that Podman
// wrote for "podman run --memory --cpus".
func cmdPodman(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: podman DIR [jq expression]...")
	}
	edits := []string{
		`(.mounts[] | select(.source | contains("/userdata/"))).source |= "\($WORK)/podman/" + (split("/") | last)`,
	}
	debian(ts, args[0], "podman-5.4-run-memory-cpus.json", append(edits, args[1:]...))
	writeFiles(ts, "podman", map[string]string{
		"hostname":      "1ebb0185d772\n",
		"hosts":         "127.0.0.1\tlocalhost\n",
		".containerenv": "",
		"shm/empty":     "",
	})
}

// debian makes the bundle with an engine's config.
func debian(ts *testscript.TestScript, dir, config string, edits []string) {
	dir = ts.MkAbs(dir)
	d := driverOf(ts)
	rootfs := "rootfs"
	if d.ways.way == world.Rootless {
		rootfs = readyDebian + "/rootfs"
		ts.Check(os.MkdirAll(dir, 0o755))
		ts.Check(os.Symlink(rootfs, filepath.Join(dir, "rootfs"))) // for the script's own use
	} else {
		mounts, err := mountDebian(dir, d.ways)
		d.mounts = append(d.mounts, mounts...)
		ts.Check(err)
	}
	text, err := os.ReadFile(filepath.Join("testdata", config))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644))
	ready := []string{fmt.Sprintf(".root.path = %q", rootfs)}
	if d.ways.uids != nil { // Docker does not open ping to all groups there are in a user namespace: most are not there
		ready = append(ready, `.linux.sysctl |= with_entries(select(.value != "0 2147483647"))`)
	}
	edit(ts, dir, append(ready, edits...))
	addUserns(ts, dir)
}

// writeFiles writes files below $WORK/dir.
func writeFiles(ts *testscript.TestScript, dir string, files map[string]string) {
	for name, text := range files {
		path := filepath.Join(driverOf(ts).work, dir, name)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
}

// debianRootfs returns the directory that tests/debian-rootfs made.
func debianRootfs() (string, error) {
	arch, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		arch = []byte(runtime.GOARCH)
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = "/var/cache"
	}
	dir := filepath.Join(cache, "gourd-tests", "debian-bookworm-"+strings.TrimSpace(string(arch)))
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("no Debian to run, tests/debian-rootfs makes it: %w", err)
	}
	return dir, nil
}
