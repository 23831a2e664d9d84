package engines

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts kube-* have a kubelet run pods: a real one, alone, which reads them
// from files (static pods). There is no API server; what kubectl logs and exec ask
// of the kubelet, the scripts ask themselves.

// Environment variables with the paths of what make test-kubernetes has built: the
// kubelet, and the directory of a containerd 2.
const (
	kubeletBinary = "GOURD_TEST_KUBELET"
	containerd2   = "GOURD_TEST_CONTAINERD"
)

const (
	nodeName  = "node"
	manifests = "/etc/kubernetes/manifests"
)

// kubeletAlone is what the kubelet's configuration in docs/kubernetes.md lacks for
// a node without a cluster, on a small machine.
const kubeletAlone = `
staticPodPath: ` + manifests + `
fileCheckFrequency: 1s
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
readOnlyPort: 10255
failSwapOn: false
resolvConf: ""
evictionHard: {memory.available: 0%, nodefs.available: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`

// TestKubernetes runs the scripts kube-*, with Debian's containerd and with a newer
// one. [podusers] in them is where a pod may have a user namespace.
func TestKubernetes(t *testing.T) {
	rt := onMachine(t)
	kubelet := os.Getenv(kubeletBinary)
	if kubelet == "" {
		t.Skip("no kubelet: make test-kubernetes builds it")
	}
	for _, e := range []struct{ name, version, bin string }{
		{"containerd", "1.x", ""},
		{"containerd2", "2.x", os.Getenv(containerd2)},
	} {
		t.Run(e.name, func(t *testing.T) {
			node := startNode(t, rt, e.version, e.bin)
			startKubelet(t, rt, kubelet)
			rig{
				rt: rt, vars: node.vars, has: map[string]bool{"podusers": e.bin != "" && rt.Kind != "runc"},
				forgetful: e.bin != "",
				sweep:     func(t *testing.T) { removeManifests(t, node); node.removePods(t) },
			}.run(t, "kube-*")
			if t.Failed() {
				t.Logf("the logs end with:\n%s", command(t, "journalctl", "--no-pager", "-o", "cat", "-n", "100", "-u", "kubelet.service", "-u", "containerd.service"))
			}
		})
	}
}

// startKubelet runs the kubelet as a service of systemd's until the end of the
// test. It wants a network with a default route, which need not lead anywhere.
func startKubelet(t *testing.T, rt world.Runtime, kubelet string) {
	t.Helper()
	t.Cleanup(func() { exec.Command("ip", "link", "delete", "uplink").Run() })
	for _, line := range []string{
		"ip link add uplink type dummy",
		"ip address add 192.0.2.10/24 dev uplink",
		"ip link set uplink up",
		"ip route add default via 192.0.2.1",
		"mkdir -p " + manifests,
	} {
		args := strings.Fields(line)
		command(t, args[0], args[1:]...)
	}
	config, err := kubernetesPage("The kubelet", "yaml", rt)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubelet.yaml")
	if err := os.WriteFile(file, []byte(config+kubeletAlone), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command(t, "systemctl", "stop", "kubelet.service")
		// What it has made for its pods it leaves, and how often it has started a
		// container it knows by the logs of the last time.
		command(t, "systemctl", "stop", "kubepods.slice")
		command(t, "sh", "-c", "awk '$2 ~ \"^/var/lib/kubelet\" {print $2}' /proc/self/mounts | sort -r | xargs -r umount")
		command(t, "rm", "-rf", "/var/lib/kubelet", "/var/log/pods")
	})
	// (It tells systemd when it is ready, which its servers may not be yet.)
	err = exec.Command("systemd-run", "--unit=kubelet", "--service-type=notify", "--collect", "--property=TimeoutStartSec=infinity", "--",
		kubelet, "--config="+file, "--hostname-override="+nodeName, "--node-ip=192.0.2.10", "--v=2").Run()
	if err != nil {
		t.Fatalf("%v\n%s", err, command(t, "journalctl", "--no-pager", "-o", "cat", "-n", "50", "-u", "kubelet.service"))
	}
	for _, url := range []string{"http://127.0.0.1:10255/healthz", "https://127.0.0.1:10250/healthz"} {
		err := await(func() (bool, error) {
			_, err := get(url)
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("%s: %v\n%s", url, err, command(t, "journalctl", "--no-pager", "-o", "cat", "-n", "50", "-u", "kubelet.service"))
		}
	}
}

// removeManifests removes what a script has left to the kubelet, which is an error.
func removeManifests(t *testing.T, n node) {
	found, err := filepath.Glob(manifests + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Errorf("left behind: %s", f)
		if err := deletePod(n, strings.TrimSuffix(filepath.Base(f), ".yaml")); err != nil {
			t.Error(err)
		}
	}
}

// cmdPod is what a person would do with kubectl:
//
//	pod apply NAME             gives the kubelet NAME.yaml, in which the pod is named NAME
//	pod await NAME JQ          waits until that holds of the pod, as the kubelet tells of it; prints it
//	pod exec NAME CONTAINER COMMAND...
//	pod type NAME CONTAINER COMMAND...   exec -it: what the script's stdin has is typed
//	pod logs NAME CONTAINER [previous]
//	pod delete NAME            takes it away, and waits for its end
func cmdPod(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: pod apply|await|exec|type|logs|delete NAME ARG...")
	}
	verb, name, rest := args[0], args[1], args[2:]
	path := fmt.Sprintf("default/%s-%s/", name, nodeName)
	var err error
	switch {
	case verb == "apply" && len(rest) == 0:
		err = apply(ts.MkAbs(name+".yaml"), name)
	case verb == "delete" && len(rest) == 0:
		err = deletePod(node{client: []string{ts.Getenv("CRI")}, vars: []string{"CONTAINERD_ADDRESS=" + ts.Getenv("CONTAINERD_ADDRESS")}}, name)
	case verb == "await" && len(rest) == 1:
		var said string
		said, err = awaitPod(name, rest[0])
		fmt.Fprint(ts.Stdout(), said)
	case verb == "logs" && len(rest) > 0:
		var said []byte
		query := ""
		if len(rest) > 1 {
			query = "?previous=true"
		}
		said, err = get("https://127.0.0.1:10250/containerLogs/" + path + rest[0] + query)
		ts.Stdout().Write(said)
	case (verb == "exec" || verb == "type") && len(rest) > 1:
		query := url.Values{"command": rest[1:], "output": {"1"}, "error": {"1"}}
		if verb == "type" {
			query = url.Values{"command": rest[1:], "output": {"1"}, "input": {"1"}, "tty": {"1"}}
		}
		err = ts.Exec(ts.Getenv("CRI"), "websocket", "https://127.0.0.1:10250/exec/"+path+rest[0]+"?"+query.Encode())
	default:
		ts.Fatalf("pod: no such use: %q", args)
	}
	switch {
	case err == nil && neg:
		ts.Fatalf("unexpected success")
	case err != nil && !neg:
		ts.Fatalf("pod %s: %v", strings.Join(args, " "), err)
	}
}

// apply puts the file where the kubelet looks, all of it at once.
func apply(file, name string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// (The kubelet reads no file that begins with a dot.)
	tmp := filepath.Join(manifests, "."+name)
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(manifests, name+".yaml"))
}

// await asks again and again until the question is answered by yes: kubelet and
// engine have nothing that would tell.
func await(question func() (bool, error)) error {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * world.Limit); time.Now().Before(end); <-tick.C {
		if yes, err := question(); yes || err != nil {
			return err
		}
	}
	return errors.New("it does not come to that")
}

// awaitPod waits until the condition of jq's holds of the pod, and returns what the
// kubelet said of it last.
func awaitPod(name, condition string) (said string, err error) {
	err = await(func() (bool, error) {
		list, err := get("http://127.0.0.1:10255/pods")
		if err != nil {
			return false, err
		}
		pod, err := findPod(list, name+"-"+nodeName)
		if pod == nil {
			return false, err
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, pod, "", "  "); err != nil {
			return false, err
		}
		said = pretty.String()
		jq := exec.Command("jq", "-e", condition)
		jq.Stdin = bytes.NewReader(pod)
		out, err := jq.CombinedOutput()
		if err == nil {
			return true, nil
		}
		if code := jq.ProcessState.ExitCode(); code != 1 && code != 4 && code != 5 { // false; nothing; no such field yet
			return false, fmt.Errorf("jq: %w: %s", err, out)
		}
		return false, nil
	})
	return said, err
}

// deletePod takes the pod from the kubelet, and waits until nothing of it is left.
// What is dead the kubelet would remove in a minute: that is not waited for.
func deletePod(n node, name string) error {
	if err := os.Remove(filepath.Join(manifests, name+".yaml")); err != nil {
		return err
	}
	var refused error
	err := await(func() (bool, error) {
		out, err := n.output("ListPodSandbox")
		if err != nil {
			return false, err
		}
		var pods struct {
			Items []struct {
				ID, State string
				Metadata  struct{ Name string }
			}
		}
		if err := json.Unmarshal(out, &pods); err != nil {
			return false, err
		}
		gone := true
		for _, p := range pods.Items {
			if p.Metadata.Name != name+"-"+nodeName {
				continue
			}
			gone = false
			if p.State == "" { // the first of its values: ready
				continue
			}
			// (The engine refuses as long as the kubelet stops it, or removes its containers.)
			_, refused = n.output("RemovePodSandbox", fmt.Sprintf(`{"podSandboxId": %q}`, p.ID))
		}
		return gone, nil
	})
	if err != nil {
		err = errors.Join(err, refused)
	}
	return err
}

// findPod returns the pod of that name, nil if there is none.
func findPod(list []byte, name string) (json.RawMessage, error) {
	var pods struct{ Items []json.RawMessage }
	if err := json.Unmarshal(list, &pods); err != nil {
		return nil, fmt.Errorf("%w in %q", err, list)
	}
	for _, p := range pods.Items {
		var pod struct{ Metadata struct{ Name string } }
		if err := json.Unmarshal(p, &pod); err != nil {
			return nil, err
		}
		if pod.Metadata.Name == name {
			return p, nil
		}
	}
	return nil, nil
}

// get asks the kubelet, whose certificate is its own.
func get(url string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, answer.Status, data)
	}
	return data, err
}
