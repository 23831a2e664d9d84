package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

// TestConfigurations gives each engine what docs/engines.md says that makes it
// use gourd, and asks the engine what it makes of it.
func TestConfigurations(t *testing.T) {
	for _, engine := range []string{"Docker", "Podman", "containerd"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			world.Run(t, "configuration", engine)
		})
	}
}

func configure(t *world.T, name string) {
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/engines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## "+name+"\n")
	_, block, _ := strings.Cut(section, "\n```")
	_, block, _ = strings.Cut(block, "\n") // its language
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("the page has no configuration for it")
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "configuration")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(block, "/usr/local/bin/gourd", rt.Path)), 0o644); err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	want := `^gourd ` + regexp.QuoteMeta(rt.Path) + `\n`
	switch name {
	case "Docker":
		e, err := start("dockerd", "--config-file", file, "--data-root", base+"/data", "--exec-root", base+"/exec",
			"--pidfile", base+"/pid", "-H", "unix://"+base+"/docker.sock", "--bridge=none", "--iptables=false", "--ip6tables=false")
		if err != nil {
			t.Fatal(err)
		}
		defer e.stop()
		cmd = exec.Command("docker", "-H", "unix://"+base+"/docker.sock", "info", "--format", `{{.DefaultRuntime}} {{(index .Runtimes "gourd").Path}}`)
	case "Podman":
		cmd = exec.Command("podman", "--root", base+"/root", "--runroot", base+"/run", "--storage-driver", "vfs",
			"info", "--format", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}")
		cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+file)
	case "containerd":
		cmd = exec.Command("containerd", "--config", file, "config", "dump")
		want = `runtimes\.gourd\.options\](.|\n)*BinaryName = "` + regexp.QuoteMeta(rt.Path) + `"`
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(want).Match(out) {
		t.Errorf("%v: it says %q, want %s", err, out, want)
	}
}

// TestTableOfScripts holds what docs/engines.md says is tested against the scripts.
func TestTableOfScripts(t *testing.T) {
	if os.Getenv("GOURD_TEST_VM") != "" {
		t.Skip("the page is not on that machine")
	}
	page, err := os.ReadFile("../../docs/engines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## What is tested with them\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:docker|userns|podman|buildah|containerd|cri|kube)-[a-z]+)`").FindAllStringSubmatch(section, -1) {
		named[m[1]] = true
	}
	for _, dir := range []string{"testdata", "testdata/machine"} {
		scripts, err := filepath.Glob(dir + "/*.txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range scripts {
			name := strings.TrimSuffix(filepath.Base(s), ".txtar")
			if !named[name] {
				t.Errorf("the page does not name the script %s", name)
			}
			delete(named, name)
		}
	}
	for name := range named {
		t.Errorf("the page names %s, which is no script", name)
	}
}
