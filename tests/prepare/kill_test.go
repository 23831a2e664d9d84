package prepare

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

// TestKill kills gourd-prepare at every step of what changes a store: before
// its 1st, 2nd, 3rd … system call that writes something. What it leaves must be
// good, or be mended by check; and the same command must then succeed, with a
// tree that is what it should be.
func TestKill(t *testing.T) {
	dir := needs(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v (tests/install-deps installs it)", err)
	}
	t.Setenv("GOURD_TEST_IMAGES", dir)
	for _, verb := range []string{"import", "create", "commit", "rm", "rmi", "mount", "unmount", "copy", "copy-out", "refresh"} {
		t.Run(verb, func(t *testing.T) { world.Run(t, "kill", verb) })
	}
}

// calls are the system calls that change a store. They are counted together, in
// the order in which the one thread that matters makes them.
const calls = "openat,mkdirat,renameat,renameat2,unlinkat,linkat,symlinkat,mknodat,fchown,fchownat,fchmod,fchmodat,fsetxattr,lsetxattr," +
	"utimensat,ftruncate,pwrite64,fsync,syncfs,flock,mount,umount2,move_mount,fsmount"

// fileCalls are those by which files are copied, which a thread of their own makes:
// strace counts by thread, so that the many calls before would hide them.
const fileCalls = "linkat,symlinkat,renameat,utimensat,ftruncate,pwrite64"

// killer runs gourd-prepare in one world.
type killer struct {
	t       *world.T
	prepare string
	dir     string
	images  string
}

func (k *killer) args(store string, args ...string) []string {
	return append([]string{"--quiet", "--store", store + "/store", "--run-dir", store + "/run"}, args...)
}

// must runs gourd-prepare, which must succeed.
func (k *killer) must(store string, args ...string) string {
	out, err := exec.Command(k.prepare, k.args(store, args...)...).CombinedOutput()
	if err != nil {
		k.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// kill runs gourd-prepare and kills it before its nth call of some; it tells
// whether it was.
func (k *killer) kill(calls string, n int, store string, args ...string) bool {
	cmd := exec.Command("strace", append([]string{"-f", "-qqq", "-o", "/dev/null", "-e", "trace=" + calls,
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", calls, n), k.prepare}, k.args(store, args...)...)...)
	// One thread runs the program, as far as Go lets it: strace counts by thread.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "PATH=/nowhere")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && (exit.ExitCode() == 137 || exit.ExitCode() == -1):
		return true
	}
	k.t.Fatalf("%v, to be killed at call %d: %v\n%s", args, n, err, out.String())
	return false
}

// killSteps is the inside of TestKill.
func killSteps(t *world.T, arg string) {
	verb, dir := arg, "/run/kill" // in memory: hundreds of stores are synced
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	// A copy that finds no gourd: a runtime that it asks would be killed in its
	// place.
	k := &killer{t: t, prepare: dir + "/gourd-prepare", dir: dir, images: os.Getenv("GOURD_TEST_IMAGES")}
	if out, err := exec.Command("cp", filepath.Join(filepath.Dir(rt.Path), "gourd-prepare"), k.prepare).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	img := "oci:" + k.images + "/img:latest"
	want := dir + "/want"
	if out, err := exec.Command("umoci", "unpack", "--image", k.images+"/img:latest", want).CombinedOutput(); err != nil {
		t.Fatalf("umoci: %v\n%s", err, out)
	}
	steps := k.killAll(verb, calls, want, img)
	// Fewer are no verb that changes anything. (How many of them strace counts is
	// by lot: it counts by thread, and Go moves between them.)
	if steps < 4 {
		t.Fatalf("only %d steps were found to kill it at", steps)
	}
	if verb == "copy" || verb == "copy-out" {
		steps += k.killAll(verb, fileCalls, want, img)
	}
	t.Logf("%s: killed at %d steps", verb, steps)
}

// killAll kills a verb at each of some calls and returns how many these were.
func (k *killer) killAll(verb, calls, want, img string) (steps int) {
	t, dir := k.t, k.dir
	for n := 1; ; n += stride(n) {
		store := fmt.Sprintf("%s/%d", dir, n)
		if err := os.Mkdir(store, 0o755); err != nil {
			t.Fatal(err)
		}
		var args []string
		switch verb {
		case "import":
			args = []string{"import", img}
		case "create":
			k.must(store, "import", img)
			args = []string{"create", "--no-files", "--ip-from", "10.0.0.0/24", "img:latest", "web"}
		case "commit":
			k.change(store, img)
			args = []string{"commit", "web", "web:changed"}
		case "rm":
			k.change(store, img)
			args = []string{"rm", "--force", "web"}
		case "rmi":
			k.must(store, "import", img)
			args = []string{"rmi", "img:latest"}
		case "mount":
			k.change(store, img)
			args = []string{"mount", "web"}
		case "unmount":
			k.change(store, img)
			k.must(store, "mount", "web")
			args = []string{"unmount", "web"}
		case "copy", "copy-out":
			args = k.copying(store, img, verb)
		case "refresh":
			k.must(store, "import", img)
			k.must(store, "create", "img:latest", "web")
			k.must(store, "unmount", "web")
			if err := os.RemoveAll(store + "/run"); err != nil { // a reboot
				t.Fatal(err)
			}
			args = []string{"refresh"}
		}
		killed := k.kill(calls, n, store, args...)
		if killed {
			steps++
			k.whole(verb, store, n)
			k.mend(store, n)
			// It has been done, or can be done again.
			switch verb {
			case "import", "commit", "rm", "mount", "unmount", "copy", "copy-out", "refresh":
				k.must(store, args...)
			case "create":
				if out, err := exec.Command(k.prepare, k.args(store, args...)...).CombinedOutput(); err != nil && !strings.Contains(string(out), "the name is taken") {
					t.Fatalf("killed at call %d, then %v: %v\n%s", n, args, err, out)
				}
			}
		}
		k.verify(verb, store, want, img, n)
		k.drop(store)
		if !killed {
			return steps
		}
	}
}

// stride skips some of the many steps that unpack one file after the other.
func stride(n int) int {
	switch {
	case n > 150:
		return 23
	case n > 60:
		return 7
	}
	return 1
}

// change makes a container that has changed something, and unmounts it.
func (k *killer) change(store, img string) {
	k.must(store, "import", img)
	bundle := k.must(store, "create", "--no-files", "--ip-from", "10.0.0.0/24", "img:latest", "web")
	if err := os.WriteFile(bundle+"/rootfs/new", []byte("new"), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.RemoveAll(bundle + "/rootfs/opt/opaque"); err != nil {
		k.t.Fatal(err)
	}
	k.must(store, "unmount", "web")
}

// The files that are copied, with what they hold: one is there before.
var (
	copied  = map[string]string{"a": "a" + strings.Repeat("new", 1000), "replaced": "new", "dir/b": "b", "dir/c": ""}
	another = "what was there before"
)

// copying makes what copy is to copy, and returns its arguments.
func (k *killer) copying(store, img, verb string) []string {
	k.change(store, img)
	src, dst := store+"/src", store+"/dst"
	fill := func(dir string, files map[string]string) {
		for name, content := range files {
			if err := os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755); err != nil {
				k.t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/"+name, []byte(content), 0o644); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	fill(src+"/files", copied)
	if err := os.Symlink("a", src+"/files/link"); err != nil {
		k.t.Fatal(err)
	}
	fill(dst+"/files", map[string]string{"replaced": another})
	if verb == "copy" {
		k.must(store, "copy", dst+"/files", "web:/opt/")
		return []string{"copy", src + "/files", "web:/opt/"}
	}
	k.must(store, "copy", src+"/files", "web:/opt/")
	return []string{"copy", "web:/opt/files", dst}
}

// target is where the copies are.
func (k *killer) target(verb, store string) string {
	if verb == "copy-out" {
		return store + "/dst/files"
	}
	all, err := filepath.Glob(store + "/store/containers/*/upper/opt/files")
	if err != nil || len(all) != 1 {
		k.t.Fatalf("copied to %v, %v", all, err)
	}
	return all[0]
}

// whole checks that of a copy that was killed each file is there wholly, or not,
// or is the one that was there before.
func (k *killer) whole(verb, store string, n int) {
	if verb != "copy" && verb != "copy-out" {
		return
	}
	dir := k.target(verb, store)
	for name, content := range copied {
		got, err := os.ReadFile(dir + "/" + name)
		switch {
		case name == "replaced" && (err != nil || string(got) != content && string(got) != another),
			name != "replaced" && !errors.Is(err, os.ErrNotExist) && string(got) != content:
			k.t.Fatalf("killed at call %d: %s is %q, %v", n, name, got, err)
		}
	}
}

// mend checks that what a kill has left can be mended, and is good then.
func (k *killer) mend(store string, n int) {
	if out, err := exec.Command(k.prepare, k.args(store, "check", "--deep", "--repair")...).CombinedOutput(); err != nil {
		k.t.Fatalf("killed at call %d, then check --repair: %v\n%s", n, err, out)
	}
	if out, err := exec.Command(k.prepare, k.args(store, "check", "--deep")...).CombinedOutput(); err != nil || len(out) > 0 {
		k.t.Fatalf("killed at call %d, repaired, then check: %v\n%s", n, err, out)
	}
}

// verify checks the outcome of a verb: the image's tree is what umoci makes.
func (k *killer) verify(verb, store, want, img string, n int) {
	switch verb {
	case "rmi":
		k.must(store, "import", img)
	case "rm":
		if out := k.must(store, "list", "--format", "json"); out != "[]" {
			k.t.Fatalf("killed at call %d: rm leaves %s", n, out)
		}
		if data, err := os.ReadFile(store + "/store/leases"); err != nil || len(data) > 0 {
			k.t.Fatalf("killed at call %d: rm leaves the lease %q, %v", n, data, err)
		}
	case "mount":
		if bundle := k.must(store, "inspect", "--bundle", "web"); exec.Command("mountpoint", "-q", bundle+"/rootfs").Run() != nil {
			k.t.Fatalf("killed at call %d: it is not mounted", n)
		} else if _, err := os.Stat(bundle + "/rootfs/new"); err != nil {
			k.t.Fatalf("killed at call %d: %v", n, err)
		}
		k.must(store, "unmount", "--force", "web")
		k.must(store, "rm", "web")
	case "unmount":
		if bundle := k.must(store, "inspect", "--bundle", "web"); exec.Command("mountpoint", "-q", bundle+"/rootfs").Run() == nil {
			k.t.Fatalf("killed at call %d: it is mounted", n)
		}
		k.must(store, "rm", "web")
	case "copy", "copy-out":
		dir := k.target(verb, store)
		for name, content := range copied {
			if got, err := os.ReadFile(dir + "/" + name); err != nil || string(got) != content {
				k.t.Fatalf("killed at call %d: %s is %q, %v", n, name, got, err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || verb == "copy" && len(entries) != 4 { // on the host's side nobody knows what is left
			k.t.Fatalf("killed at call %d: there are %v, %v", n, entries, err)
		}
		k.must(store, "rm", "web") // nobody counts on its mount
	case "refresh":
		if hosts, err := filepath.Glob(store + "/run/*/hosts"); err != nil || len(hosts) != 1 {
			k.t.Fatalf("killed at call %d: %v, %v", n, hosts, err)
		}
		k.must(store, "mount", "web")
		k.must(store, "unmount", "web")
		k.must(store, "rm", "web")
	case "commit":
		bundle := k.must(store, "create", "--no-files", "web:changed", "committed")
		if _, err := os.Stat(bundle + "/rootfs/new"); err != nil {
			k.t.Fatalf("killed at call %d: %v", n, err)
		}
		if _, err := os.Stat(bundle + "/rootfs/opt/opaque"); err == nil {
			k.t.Fatalf("killed at call %d: what was deleted is back", n)
		}
	}
	bundle := k.must(store, "create", "--no-files", "img:latest", "verify")
	a, err := readTree(want+"/rootfs", []string{"srv"}, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	b, err := readTree(bundle+"/rootfs", []string{"srv"}, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	for p := range a {
		if a[p] != b[p] {
			k.t.Fatalf("killed at call %d: %q is %q, want %q", n, p, b[p], a[p])
		}
	}
	if len(a) != len(b) {
		k.t.Fatalf("killed at call %d: %d entries, want %d", n, len(b), len(a))
	}
}

// drop removes a store, so that the disk does not fill up.
func (k *killer) drop(store string) {
	mounts, err := filepath.Glob(store + "/store/containers/*/bundle/rootfs")
	if err != nil {
		k.t.Fatal(err)
	}
	shm, _ := filepath.Glob(store + "/run/*/shm")
	for _, m := range append(mounts, shm...) {
		_ = exec.Command("umount", "-l", m).Run() // what is not mounted need not be
	}
	if err := os.RemoveAll(store); err != nil {
		k.t.Fatal(err)
	}
}
