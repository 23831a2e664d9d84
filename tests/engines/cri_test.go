package engines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts cri-* use containerd as a kubelet does, by its CRI, with the client
// tests/cri. Its configuration is that of docs/kubernetes.md.

// criClient names the environment variable with the client's path.
const criClient = "GOURD_TEST_CRI"

// buildClient builds the client, where nobody has brought it.
func buildClient(t *testing.T) {
	t.Helper()
	if os.Getenv(criClient) != "" {
		return
	}
	client := filepath.Join(t.TempDir(), "cri")
	cmd := exec.Command("go", "build", "-trimpath", "-o", client, ".")
	cmd.Dir = "../cri"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build tests/cri: %v\n%s", err, out)
	}
	if err := os.Setenv(criClient, client); err != nil {
		t.Fatal(err)
	}
}

// cmdCRI is the client: cri METHOD JSON, and more, see tests/cri.
func cmdCRI(ts *testscript.TestScript, neg bool, args []string) {
	client := strings.Fields(ts.Getenv("CRI"))
	err := ts.Exec(client[0], append(client[1:], args...)...)
	switch {
	case err == nil && neg:
		ts.Fatalf("unexpected success")
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	}
}

// kubernetesPage returns the first block of the language in that section of
// docs/kubernetes.md, with the runtime under test in gourd's place. Where the
// tests run elsewhere, the page is beside their scripts.
func kubernetesPage(section, language string, rt world.Runtime) (string, error) {
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if errors.Is(err, os.ErrNotExist) {
		page, err = os.ReadFile("testdata/kubernetes.md")
	}
	if err != nil {
		return "", err
	}
	_, text, found := strings.Cut(string(page), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	_, text, ok := strings.Cut(text, "\n```"+language+"\n")
	text, _, _ = strings.Cut(text, "```")
	if !found || !ok {
		return "", fmt.Errorf("docs/kubernetes.md has no block of %s in the section %q", language, section)
	}
	return strings.ReplaceAll(text, "/usr/local/bin/gourd", rt.Path), nil
}

// startCRI starts a containerd for kubelets, in a network namespace of its own,
// and returns what the scripts' environment needs. The world has no systemd, its
// network leads nowhere, and it may have no controllers and no CAP_SYS_RESOURCE.
func startCRI(rt world.Runtime) (*engine, []string, error) {
	config, err := kubernetesPage("containerd 1.x", "toml", rt)
	if err != nil {
		return nil, nil, err
	}
	network, err := kubernetesPage("A network", "json", rt)
	if err != nil {
		return nil, nil, err
	}
	config += "\n[plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_cgroup = true\nrestrict_oom_score_adj = true\n"
	config = replaced(config, "SystemdCgroup = true", "SystemdCgroup = false", "/etc/cni/net.d", base+"/net.d")
	network = replaced(network, `"ipMasq": true`, `"ipMasq": false`, `"host-local",`, fmt.Sprintf(`"host-local", "dataDir": %q,`, base+"/cni"))
	err = errors.Join(
		os.WriteFile(base+"/config.toml", []byte(config), 0o644),
		os.MkdirAll(base+"/net.d", 0o755),
		os.WriteFile(base+"/net.d/10-pods.conflist", []byte(network), 0o644))
	if err != nil {
		return nil, nil, err
	}
	address := base + "/containerd.sock"
	e, err := start("unshare", "--net", "sh", "-c", `ip link set lo up; exec "$@"`, "-",
		"containerd", "--config", base+"/config.toml", "--root", base+"/root", "--state", base+"/state", "--address", address)
	if err != nil {
		return nil, nil, err
	}
	client := fmt.Sprintf("nsenter --net=/proc/%d/ns/net %s", e.cmd.Process.Pid, os.Getenv(criClient))
	vars, err := furnishCRI("containerd", base+"/config.toml", base, address, client)
	if err != nil {
		err = errors.Join(err, e.stop(), errors.New(string(e.logTail())))
	}
	return e, append(vars, "CRI_CGROUP_PARENT=/pods"), err
}

// replaced replaces each old by its new.
func replaced(s string, oldnew ...string) string { return strings.NewReplacer(oldnew...).Replace(s) }

// furnishCRI gives containerd, of that binary with that configuration, the images
// of the scripts, made below dir, and returns what their environment needs.
func furnishCRI(containerd, config, dir, address, client string) ([]string, error) {
	rootfs, err := os.MkdirTemp(dir, "rootfs")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(rootfs)
	if err := errors.Join(os.Chmod(rootfs, 0o755), makeRootfs(rootfs)); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n",
		"etc/group":  "root:x:0:\nuser:x:1000:\nmore:x:2000:user\n",
	} {
		path := filepath.Join(rootfs, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return nil, err
		}
	}
	vars := []string{"CONTAINERD_ADDRESS=" + address, "CRI=" + client}
	call := func(name string, args ...string) ([]byte, error) {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), vars...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		return out, nil
	}
	// (The table of the image is another in containerd 2.)
	dump, err := call(containerd, "--config", config, "config", "dump")
	if err != nil {
		return nil, err
	}
	sandbox := regexp.MustCompile(`(?m)^\s*sandbox(?:_image)? = ['"](.+)['"]`).FindSubmatch(dump)
	if sandbox == nil {
		return nil, fmt.Errorf("containerd names no image for its sandboxes:\n%s", dump)
	}
	file := filepath.Join(dir, "images.tar")
	if err := archive(file, rootfs, pause(string(sandbox[1])), box); err != nil {
		return nil, err
	}
	defer os.Remove(file)
	_, err = call("ctr", "--namespace", "k8s.io", "images", "import", file)
	return vars, err
}

// A node is a machine whose containerd runs pods with the runtime under test.
type node struct {
	client []string
	vars   []string // the scripts' environment
}

// startNode makes this machine a node, as docs/kubernetes.md tells, until the end
// of the test. bin has containerd and its shim, "" are Debian's.
func startNode(t *testing.T, rt world.Runtime, version, bin string) node {
	t.Helper()
	containerd := "containerd"
	if bin != "" {
		containerd = filepath.Join(bin, "containerd")
		const dropIn = "/run/systemd/system/containerd.service.d/tests.conf"
		text := fmt.Sprintf("[Service]\nExecStart=\nExecStart=%s\nEnvironment=PATH=%s:%s\n", containerd, bin, os.Getenv("PATH"))
		if err := errors.Join(os.MkdirAll(filepath.Dir(dropIn), 0o755), os.WriteFile(dropIn, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		command(t, "systemctl", "daemon-reload")
		t.Cleanup(func() {
			if err := os.Remove(dropIn); err != nil {
				t.Error(err)
			}
			command(t, "systemctl", "daemon-reload")
		})
		// (Where the page says that the plugins of the network are.)
		if err := errors.Join(os.MkdirAll("/opt/cni", 0o755), os.Symlink("/usr/lib/cni", "/opt/cni/bin")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove("/opt/cni/bin"); err != nil {
				t.Error(err)
			}
		})
	}
	for file, block := range map[string][2]string{
		"/etc/containerd/config.toml":     {"containerd " + version, "toml"},
		"/etc/cni/net.d/10-pods.conflist": {"A network", "json"},
	} {
		text, err := kubernetesPage(block[0], block[1], rt)
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := os.Remove(file)
			if before != nil {
				err = os.WriteFile(file, before, 0o644)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		command(t, "systemctl", "stop", "containerd.service")
		exec.Command("ip", "link", "delete", "cni0").Run() // where there was a pod with a network
	})
	if err := exec.Command("systemctl", "restart", "containerd.service").Run(); err != nil {
		t.Fatalf("%v\n%s", err, command(t, "journalctl", "-n", "50", "-u", "containerd.service"))
	}
	buildClient(t)
	client := os.Getenv(criClient)
	vars, err := furnishCRI(containerd, "/etc/containerd/config.toml", t.TempDir(), "/run/containerd/containerd.sock", client)
	if err != nil {
		t.Fatal(err)
	}
	return node{[]string{client}, vars}
}

// output calls the client.
func (n node) output(args ...string) ([]byte, error) {
	cmd := exec.Command(n.client[0], append(n.client[1:], args...)...)
	cmd.Env = append(os.Environ(), n.vars...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cri %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out, err
}

// removePods removes the pods that a script has left, which is an error.
func (n node) removePods(t *testing.T) {
	out, err := n.output("ListPodSandbox")
	if err != nil {
		t.Fatal(err)
	}
	var pods struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := json.Unmarshal(out, &pods); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		t.Errorf("left behind: pod %s", p.Metadata.Name)
		if _, err := n.output("remove", p.Metadata.Name); err != nil {
			t.Error(err)
		}
	}
}
