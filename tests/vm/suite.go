package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A way is one manner of running the integration scripts (see world.Way).
type way struct{ step, name string }

// ways are the manners in which --full runs every script.
func ways() []way {
	return []way{
		{"scripts as root", "root"},
		{"scripts with a user namespace", "userns"},
		{"scripts as an ordinary user", "rootless"},
	}
}

// run is the step that runs the named scripts in this way.
func (w way) run(payload string, names []string, minutes int, env ...string) step {
	return scriptStep(w.step, payload, names, minutes, append([]string{"GOURD_TEST_WAY=" + w.name}, env...)...)
}

// scripts are the integration scripts, by name. Those of SELinux have a boot of
// the machine for themselves.
type scripts struct{ marked, others, selinux []string }

// mark is how a script says that it is for a machine made for tests: a line
// with that condition, most often "[!vm] skip".
var mark = regexp.MustCompile(`(?m)^\[!?vm\]`)

// selinuxMark is how a script says that it is for a machine with SELinux.
var selinuxMark = regexp.MustCompile(`(?m)^\[!lsm:selinux\] skip`)

// debianWord is how a script asks for a Debian root filesystem.
var debianWord = regexp.MustCompile(`(?m)^(\[[^]]*\] )*(debian|podman) `)

// findScripts sorts the scripts of the directory.
func findScripts(dir string) (s scripts, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return s, err
	}
	if len(files) == 0 {
		return s, fmt.Errorf("no scripts in %s", dir)
	}
	slices.Sort(files)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return s, err
		}
		name := strings.TrimSuffix(filepath.Base(f), ".txtar")
		if selinuxMark.Match(text) {
			s.selinux = append(s.selinux, name)
		} else if mark.Match(text) {
			s.marked = append(s.marked, name)
		} else {
			s.others = append(s.others, name)
		}
	}
	return s, nil
}

// all returns every script, but for those of SELinux.
func (s scripts) all() []string {
	all := slices.Concat(s.marked, s.others)
	slices.Sort(all)
	return all
}

// wantDebian tells whether one of the scripts of dir asks for a Debian.
func wantDebian(dir string, names []string) (bool, error) {
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name+".txtar"))
		if err != nil {
			return false, err
		}
		if debianWord.Match(text) {
			return true, nil
		}
	}
	return false, nil
}

// scriptStep is the step that runs the named scripts.
func scriptStep(name, payload string, names []string, minutes int, env ...string) step {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = regexp.QuoteMeta(n)
	}
	return step{
		Name: name,
		Dir:  "integration",
		Args: testArgs("./integration.test", "^TestScripts$/^("+strings.Join(quoted, "|")+")$", minutes),
		Env: append([]string{
			"GOURD_RUNTIME=" + payload + "/gourd",
			"GOURD_TEST_VM=1",
		}, env...),
		Minutes: minutes,
	}
}

// selinuxSteps are the steps of the boot with SELinux: the scripts that are for
// it, in these ways, and under Debian's runc, which shows a wrong test; and that of
// gourd-prepare.
func selinuxSteps(payload string, names []string, ways []way, minutes int, env ...string) []step {
	if len(names) == 0 {
		return nil
	}
	var steps []step
	for _, w := range ways {
		s := w.run(payload, names, minutes, env...)
		s.Name = "SELinux: " + s.Name
		steps = append(steps, s)
	}
	oracle := scriptStep("SELinux: scripts under runc", payload, names, minutes, append([]string{"GOURD_RUNTIME=runc"}, env...)...)
	steps = append(steps, oracle)
	prepare := prepareStep(payload, minutes, env...)
	prepare.Name = "SELinux: scripts of tests/prepare"
	prepare.Args = testArgs("./prepare.test", "^TestScripts$/.*/^selinux$", minutes)
	steps = append(steps, prepare)
	for i := range steps {
		steps[i].SELinux = true
	}
	return steps
}

// cgroupStep is the step that runs the tests of package cgroups: on most other
// machines they find no controllers.
func cgroupStep(minutes int, env ...string) step {
	return step{
		Name:    "package cgroups",
		Dir:     "cgroups",
		Args:    testArgs("./cgroups.test", ".", minutes),
		Env:     append([]string{"GOURD_TEST_VM=1"}, env...),
		Minutes: minutes,
	}
}

// systemdStep is the step that runs tests/systemd: no other machine lets tests
// make units of its pid 1.
func systemdStep(payload string, minutes int, env ...string) step {
	return step{
		Name:    "package tests/systemd",
		Dir:     "systemd",
		Args:    testArgs("./systemd.test", ".", minutes),
		Env:     append([]string{"GOURD_RUNTIME=" + payload + "/gourd", "GOURD_TEST_VM=1"}, env...),
		Minutes: minutes,
	}
}

// prepareStep is the step that runs the scripts of gourd-prepare which another
// kernel may answer differently: ids of layers mapped for a user namespace, and
// an ordinary user's overlay.
func prepareStep(payload string, minutes int, env ...string) step {
	return step{
		Name:    "scripts of tests/prepare",
		Dir:     "prepare",
		Args:    testArgs("./prepare.test", "^TestScripts$/.*/^(userns|rootless)$", minutes),
		Env:     append([]string{"GOURD_RUNTIME=" + payload + "/gourd", "GOURD_TEST_IMAGES=" + payload + "/images", "GOURD_TEST_VM=1"}, env...),
		Minutes: minutes,
	}
}

// engineStep is the step that runs tests/engines with real engines, as services of
// the machine; names is a pattern of tests. The engines have their own caches.
func engineStep(payload, names string, minutes int, env ...string) step {
	env = withoutCache(env)
	return step{
		Name:    "engines",
		Dir:     "engines",
		Args:    testArgs("./engines.test", names, minutes),
		Env:     append([]string{"GOURD_RUNTIME=" + payload + "/gourd", "GOURD_TEST_VM=1", "GOURD_TEST_CRI=" + payload + "/cri", "HOME=/root"}, env...),
		Minutes: minutes,
	}
}

// userEngineStep is the same for the machine's ordinary user, whose own systemd
// starts it, as it starts all that the user does.
func userEngineStep(payload, names string, minutes int, env ...string) step {
	s := engineStep(payload, names, minutes, append([]string{
		"GOURD_TEST_WAY=rootless", "XDG_RUNTIME_DIR=/run/user/1000", "PATH=/usr/sbin:/usr/bin",
	}, env...)...)
	s.Name = "engines of an ordinary user"
	line := []string{"setpriv", "--reuid=1000", "--regid=1000", "--init-groups",
		"systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect", "--same-dir", "--property=Delegate=yes"}
	for _, v := range s.Env {
		name, _, _ := strings.Cut(v, "=")
		if name != "HOME" && name != "XDG_RUNTIME_DIR" { // which that systemd knows better
			line = append(line, "--setenv="+v)
		}
	}
	s.Args = append(line, s.Args...)
	return s
}

// kubernetesStep is the step that runs the scripts of tests/engines for which a
// kubelet is needed.
func kubernetesStep(payload, names string, minutes int, env ...string) step {
	s := engineStep(payload, names, minutes, append([]string{
		"GOURD_TEST_KUBELET=" + payload + "/kubernetes/kubelet", "GOURD_TEST_CONTAINERD=" + payload + "/kubernetes",
	}, env...)...)
	s.Name = kubernetes
	return s
}

// kubernetes names that step, and the directory of the payload with what it needs.
const kubernetes = "kubernetes"

func withoutCache(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "XDG_CACHE_HOME=") })
}

// conformanceStep is the step that runs the validation programs of runtime-tools,
// with gourd and with the machine's runc. They wait more than they work.
func conformanceStep(payload string, minutes int, env ...string) step {
	args := testArgs("./conformance.test", "^TestRuntimeTools$", minutes)
	return step{
		Name: conformance,
		Dir:  conformance,
		Args: append(args, "-test.parallel=4"),
		Env: append([]string{
			"GOURD_RUNTIME=" + payload + "/gourd", "GOURD_TEST_VM=1", "GOURD_TEST_PROGRAMS=" + payload + "/" + conformance + "/programs",
		}, env...),
		Minutes: minutes,
	}
}

// conformance names that step, and the directory of the payload with what it needs.
const conformance = "conformance"

// everyEngine is all that engineStep can run; someEngines is what make test-vm
// has time for; everyKubelet is what kubernetesStep can run.
const (
	everyEngine = "^Test(Docker|Containerd|CRI|Podman|Buildah)$"
	someEngines = "^Test(Docker|CRI|Podman)$/^systemd$/^(docker|cri|podman)-(terminal|limits)$" +
		"|^TestContainerd$/^containerd-limits$|^TestBuildah$/^buildah-run$"
	everyKubelet = "TestKubernetes"
)

// testArgs is the command line of a test binary; go test's own limit, which
// shows where every goroutine hangs, is before the step's.
func testArgs(binary, run string, minutes int) []string {
	return []string{binary, "-test.v=test2json", "-test.run=" + run, "-test.parallel=2",
		fmt.Sprintf("-test.timeout=%dm", max(1, minutes-1))}
}
