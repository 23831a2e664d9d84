package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/schema"
	"github.com/gourd-oci/gourd/tests/world"
)

// TestDocuments holds what gourd really prints, and gives to hooks, against the
// schemas of the runtime-spec.
func TestDocuments(t *testing.T) { world.Run(t, "documents", "") }

func checkDocuments(t *world.T, _ string) {
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := schema.Open()
	if err != nil {
		t.Fatal(err)
	}
	check := func(what, file string, doc []byte, allowed ...string) {
		problems, err := schemas.Check(file, doc)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(problems, "; "); got != strings.Join(allowed, "; ") {
			t.Errorf("%s: %s\n%s", what, got, doc)
		}
	}
	bundle := world.Scratch + "/bundle"
	run := func(args ...string) []byte {
		cmd := exec.Command(rt.Path, append([]string{"--root", world.Scratch + "/root"}, args...)...)
		file, err := os.Create(world.Scratch + "/stdout") // no pipe: the container has it open
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		cmd.Stdout, cmd.Stderr = file, file
		err = cmd.Run()
		out, _ := os.ReadFile(file.Name())
		if err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
		return out
	}
	check("features", "features-schema.json", run("features"))

	makeBundle(t, rt.Path, bundle)
	var pid int
	for _, step := range []struct {
		args   []string
		status string
	}{
		{[]string{"create", "--bundle", bundle, "c"}, "created"},
		{[]string{"start", "c"}, "running"},
		{[]string{"pause", "c"}, "paused"},
		{[]string{"resume", "c"}, "running"},
		{[]string{"kill", "c", "KILL"}, "stopped"},
	} {
		run(step.args...)
		if step.status == "stopped" {
			if ended, err := world.WaitExit(pid, world.Soon()); err != nil || !ended {
				t.Fatalf("the container does not end: %v", err)
			}
		}
		doc := run("state", "c")
		var state struct {
			Status      string
			Pid         int
			Annotations map[string]string
		}
		if err := json.Unmarshal(doc, &state); err != nil {
			t.Fatal(err)
		}
		pid = state.Pid
		if state.Status != step.status || state.Annotations["org.example.key"] != "value" {
			t.Errorf("after %s the state is %s", step.args, doc)
		}
		if step.status == "paused" {
			// "Additional values MAY be defined by the runtime" (runtime.md, "State").
			check("state: paused", "state-schema.json", doc, "$.status is paused, which is none of [creating created running stopped]")
			continue
		}
		check("state: "+step.status, "state-schema.json", doc)
	}
	run("delete", "c")
	for phase, status := range map[string]string{
		"prestart": "creating", "createRuntime": "creating", "createContainer": "creating", "startContainer": "created", "poststart": "running", "poststop": "stopped",
	} {
		doc, err := os.ReadFile(filepath.Join(bundle, "rootfs/hooks", phase))
		if err != nil {
			t.Errorf("%s: %v", phase, err)
			continue
		}
		if !strings.Contains(string(doc), fmt.Sprintf(`"status":"%s"`, status)) {
			t.Errorf("%s: the status is not %s: %s", phase, status, doc)
		}
		check("state for "+phase, "state-schema.json", doc)
	}
}

// makeBundle makes a bundle whose hooks store what they get.
func makeBundle(t *world.T, runtime, bundle string) {
	rootfs := filepath.Join(bundle, "rootfs")
	for _, dir := range []string{"bin", "hooks"} {
		if err := os.MkdirAll(filepath.Join(rootfs, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rootfs, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "sleep"} {
		if err := os.Symlink("busybox", filepath.Join(rootfs, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(runtime, "spec", "--bundle", bundle).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := `.process.terminal = false | .root.readonly = false | .process.args = ["sleep", "1000"] | .annotations = {"org.example.key": "value"}
		| reduce ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop") as $p (.;
			.hooks[$p] = [{path: "/bin/sh", args: ["sh", "-c", "cat >\(if $p == "startContainer" then "" else $rootfs end)/hooks/\($p)"]}])`
	edited, err := exec.Command("jq", "--arg", "rootfs", rootfs, config, filepath.Join(bundle, "config.json")).Output()
	if err != nil {
		t.Fatalf("jq: %v", err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), edited, 0o644); err != nil {
		t.Fatal(err)
	}
}
