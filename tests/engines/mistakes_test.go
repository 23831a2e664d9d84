package engines

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

var update = flag.Bool("update", false, "write what the engines show into docs/errors.md")

// errorsFile shows what comes of each mistake.
const errorsFile = "../../docs/errors.md"

// mistake is something that people get wrong, and what helps.
type mistake struct {
	name string
	help string
	// docker and podman are what the engine is told: the arguments of run, or,
	// after "exec ", of exec in a container that runs. Empty: the engine cannot be told that.
	docker, podman string
	// lacks is a cgroup controller: where the machine has it, it is no mistake.
	lacks string
}

// same is a mistake that both engines are told in the same words.
func same(name, args, help string) mistake {
	return mistake{name: name, docker: args, podman: args, help: help}
}

var mistakes = []mistake{
	same("The program does not exist", "box /no/such", "The path is one in the image."),
	same("The program is not in PATH", "box nosuch", "PATH is the container's: `-e PATH=…`, or the image's `ENV`."),
	same("The program is not executable", "box /bin/notexecutable", "`chmod +x` it in the image."),
	same("The program is a directory", "box /bin", ""),
	same("The program's interpreter is missing", "box /bin/badinterpreter", "The first line of a script names it, or, of a binary, it is the dynamic loader: a binary for glibc in an image with musl shows this."),
	same("The program is for another architecture", "box /bin/garbage", "Take the image for this machine (`--platform`), or install qemu's binfmt handlers."),
	same("The program does not exist (exec)", "exec box /no/such", ""),
	same("The program is not in PATH (exec)", "exec box nosuch", ""),
	same("The program is not executable (exec)", "exec box /bin/notexecutable", ""),
	same("The working directory does not exist (exec)", "exec -w /no/such box true", ""),
	same("The working directory is a file", "-w /etc/passwd box true", "The engines see to this one themselves."),
	same("The working directory is a file (exec)", "exec -w /etc/passwd box true", ""),
	same("The user does not exist", "-u nosuch box true", "Engines look users up in the image's /etc/passwd; the runtime is given numbers."),
	same("The mount's source does not exist", "--mount type=bind,src=/no/such,dst=/mnt box true", "The engines see to this one themselves."),
	same("A file is mounted on a directory", "-v $WORK/file:/etc box true", ""),
	same("A directory is mounted on a file", "-v $WORK/dir:/etc/passwd box true", ""),
	same("A mount inside /proc", "-v $WORK/dir:/proc/sys box true", "A container that could fake what is in /proc could make a runtime write elsewhere (CVE-2019-16884). The few files that lxcfs emulates are let through."),
	same("Something else mounted on /proc", "-v $WORK/dir:/proc box true", ""),
	same("A filesystem's option has a wrong value", "--tmpfs /mnt:size=much box true", ""),
	same("The seccomp profile has an unknown action", "--security-opt seccomp=$WORK/action.json box true", "The defect is named by its place in config.json, as runtime-spec has it."),
	same("The seccomp profile is for an unknown architecture", "--security-opt seccomp=$WORK/arch.json box true", ""),
	same("The seccomp profile is no JSON", "--security-opt seccomp=$WORK/file box true", "The engines see to this one themselves."),
	same("The seccomp profile denies execve", "--security-opt seccomp=$WORK/deny.json box true", ""),
	{name: "The seccomp agent does not run", podman: "--security-opt seccomp=$WORK/agent.json box true", help: "Docker drops the listenerPath of a profile."},
	same("The sysctl does not exist", "--sysctl net.ipv4.nosuch=1 box true", ""),
	same("The sysctl's value is wrong", "--sysctl kernel.shmmni=much box true", ""),
	same("The limit is higher than allowed", "--ulimit nofile=99999999999 box true", ""),
	same("The host name is too long", "--hostname "+strings.Repeat("a", 80)+" box true", ""),
	same("The device does not exist", "--device /dev/nosuch box true", "The engines see to this one themselves."),
	{name: "The memory controller is not there", podman: "--memory 64m box true", lacks: "memory", help: "Docker notices it itself, warns, and drops the limit."},
	{name: "The pids controller is not there", podman: "--pids-limit 10 box true", lacks: "pids", help: "Docker notices it itself, warns, and drops the limit."},
	{name: "The cgroup is not delegated", podman: asUser + "--memory 64m box true", help: "An ordinary user's engine, here with the cgroup driver cgroupfs: only systemd can give an ordinary user's container a cgroup with limits (`cgroup_manager = \"systemd\"`, in a session of the user's own)."},
	{name: "The cgroup filesystem is read-only", podman: "cgroup-ro box true", help: "In a container, give it a writable cgroup of its own: `--cgroupns private` and a writable /sys/fs/cgroup."},
	{name: "The file for the pid cannot be written", podman: "--pidfile /no/such/pid box true"},
}

// TestMistakes makes each of them under both engines, and holds what they show
// against docs/errors.md.
func TestMistakes(t *testing.T) {
	if rt, err := world.FindRuntime(); err != nil || rt.Kind != "gourd" {
		t.Skipf("the page shows gourd's words, and the runtime is %q (%v)", rt.Kind, err)
	}
	shown := map[string][]string{}
	dir := t.TempDir()
	t.Run("both", func(t *testing.T) {
		for _, engine := range []string{"docker", "podman"} {
			t.Run(engine, func(t *testing.T) {
				t.Parallel()
				world.Run(t, "mistakes", engine+"\n"+filepath.Join(dir, engine))
			})
		}
	})
	if t.Failed() || t.Skipped() || os.Geteuid() != 0 {
		return
	}
	for _, engine := range []string{"docker", "podman"} {
		data, err := os.ReadFile(filepath.Join(dir, engine))
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		if err := json.Unmarshal(data, &list); err != nil {
			t.Fatal(err)
		}
		shown[engine] = list
	}
	old, err := os.ReadFile(errorsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	got := document(shown, string(old))
	if *update {
		if err := os.WriteFile(errorsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(old) {
		t.Errorf("%s is another (go test ./tests/engines -run TestMistakes -update writes it):\n%s", errorsFile, diff(string(old), got))
	}
}

const errorsHead = `# Errors

What common mistakes look like, as Docker and Podman show them with gourd as their runtime. The words after the engine's own
are gourd's; they are the last line of level ` + "`error`" + ` in the file that ` + "`--log FILE --log-format json`" + ` names, from which engines
take them. A defect of the configuration is named by its place in config.json, and all of them are told at once.

A test makes every one of these mistakes and holds this page against what is shown (` + "`make test-engines`" + `). ` + "`$WORK`" + ` is a
directory of that test, ` + "`ID`" + ` the container's id.
`

// document returns the page. What could not be tried on this machine stays as
// it is in old.
func document(shown map[string][]string, old string) string {
	var b strings.Builder
	b.WriteString(errorsHead)
	for i, m := range mistakes {
		var s strings.Builder
		fmt.Fprintf(&s, "\n## %s\n\n", m.name)
		if m.help != "" {
			fmt.Fprintf(&s, "%s\n\n", m.help)
		}
		s.WriteString("```console\n")
		tried := true
		for _, e := range []struct{ name, args string }{{"docker", m.docker}, {"podman", m.podman}} {
			if e.args == "" {
				continue
			}
			text := shown[e.name][i]
			tried = tried && text != untried
			fmt.Fprintf(&s, "$ %s\n%s\n", commandLine(e.name, e.args), text)
		}
		s.WriteString("```\n")
		if !tried {
			if section := section(old, m.name); section != "" {
				b.WriteString(section)
				continue
			}
		}
		b.WriteString(s.String())
	}
	return b.String()
}

// commandLine is what a person would type.
func commandLine(engine, args string) string {
	if rest, ok := strings.CutPrefix(args, "exec "); ok {
		return engine + " exec " + rest
	}
	return engine + " run " + strings.TrimPrefix(strings.TrimPrefix(args, cgroupRO), asUser)
}

// section returns the section of a mistake, from its heading on.
func section(page, name string) string {
	_, rest, ok := strings.Cut(page, "\n## "+name+"\n")
	if !ok {
		return ""
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return "\n## " + name + "\n" + body
}

// diff returns the lines in which the pages differ.
func diff(old, got string) string {
	a, b := strings.Split(old, "\n"), strings.Split(got, "\n")
	var out []string
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

const (
	untried  = "untried"
	cgroupRO = "cgroup-ro " // the engine finds the cgroup filesystem read-only
	asUser   = "as-user "   // an ordinary user has made the mistake, whose image is another
)

// makeMistakes makes all mistakes under one engine, and stores what it shows.
func makeMistakes(t *world.T, arg string) {
	name, result, _ := strings.Cut(arg, "\n")
	rt, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(base, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(work, "image")
	must(makeRootfs(image))
	must(os.Mkdir(filepath.Join(image, "etc"), 0o755))
	must(os.Mkdir(filepath.Join(work, "dir"), 0o755))
	for file, data := range map[string]string{
		"image/etc/passwd":         "root:x:0:0:root:/root:/bin/sh\n",
		"image/bin/badinterpreter": "#!/no/such/shell\n",
		"image/bin/garbage":        "\x7fELF for something else",
		"image/bin/notexecutable":  "#!/bin/sh\n",
		"file":                     "text\n",
		"action.json":              `{"defaultAction": "SCMP_ACT_NOSUCH"}`,
		"arch.json":                `{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"]}`,
		"deny.json":                `{"defaultAction": "SCMP_ACT_ERRNO"}`,
		"agent.json":               `{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/nosuch.sock", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}`,
		"containers.conf":          podmanConf,
	} {
		must(os.WriteFile(filepath.Join(work, file), []byte(data), 0o644))
	}
	must(os.Chmod(filepath.Join(image, "bin/badinterpreter"), 0o755))
	must(os.Chmod(filepath.Join(image, "bin/garbage"), 0o755))

	var command []string
	if name == "docker" {
		e, err := startDocker(rt)
		must(err)
		defer e.stop()
		must(os.Setenv("DOCKER_HOST", "unix://"+base+"/docker.sock"))
		command = []string{"docker"}
	} else {
		must(os.Setenv("CONTAINERS_CONF", filepath.Join(work, "containers.conf")))
		must(os.Setenv("TMPDIR", work))
		command = []string{"podman", "--root", base + "/root", "--runroot", base + "/runroot", "--tmpdir", base + "/tmp",
			"--storage-driver", "vfs", "--runtime", rt.Path}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(command[0], append(command[1:len(command):len(command)], args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	tar := exec.Command("sh", "-c", `tar -C "$1" -c . >"$2"`, "sh", image, work+"/image.tar")
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"import", work + "/image.tar", "box"}, {"run", "-d", "--name", "running", "box", "sleep", "1000"}} {
		if out, err := run(args...); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, args, err, out)
		}
	}
	shown := make([]string, len(mistakes))
	for i, m := range mistakes {
		args := m.docker
		if name == "podman" {
			args = m.podman
		}
		if args == "" {
			continue
		}
		if m.lacks != "" && hasController(m.lacks) {
			shown[i] = untried
			continue
		}
		words := strings.Fields(strings.ReplaceAll(args, "$WORK", work))
		run := run
		if words[0] == strings.TrimSpace(asUser) {
			run, err = ordinaryUser(work, rt)
			must(err)
			words = words[1:]
		}
		readonly := words[0] == strings.TrimSpace(cgroupRO)
		switch {
		case readonly:
			words = append([]string{"run", "--rm"}, words[1:]...)
			must(remountCgroup(true))
		case words[0] == "exec":
			words[slices.Index(words, "box")] = "running"
		default:
			words = append([]string{"run", "--rm"}, words...)
		}
		out, err := run(words...)
		if readonly {
			must(remountCgroup(false))
		}
		if err == nil {
			t.Errorf("%s: %s %s is no mistake: it worked\n%s", m.name, name, words, out)
		}
		shown[i] = normal(out, work, rt.Path)
	}
	if out, err := run("rm", "-f", "running"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := json.Marshal(shown)
	must(err)
	must(os.WriteFile(result, text, 0o644))
}

// ordinaryUser returns what runs podman as a user who has nothing but a directory,
// where the image is, too. What it says of the user's having no more ids is not
// about the mistake.
func ordinaryUser(work string, rt world.Runtime) (func(args ...string) (string, error), error) {
	const uid = 12345
	dir := filepath.Join(work, "user")
	binary, err := os.ReadFile(rt.Path) // which may be where the user cannot look
	if err != nil {
		return nil, err
	}
	runtime := filepath.Join(dir, "bin", filepath.Base(rt.Path)) // whose name says that it has JSON logs
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, uid, uid), os.Mkdir(filepath.Dir(runtime), 0o755), os.WriteFile(runtime, binary, 0o755)); err != nil {
		return nil, err
	}
	run := func(args ...string) (string, error) {
		id := strconv.Itoa(uid)
		cmd := exec.Command("setpriv", append([]string{"--reuid", id, "--regid", id, "--clear-groups", "podman",
			"--root", dir + "/root", "--runroot", dir + "/runroot", "--tmpdir", dir + "/tmp", "--storage-driver", "vfs", "--runtime", runtime}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "TMPDIR="+dir)
		out, err := cmd.CombinedOutput()
		said := regexp.MustCompile(`(?m)^time=.*level=error msg="cannot find UID/GID.*\n`).ReplaceAllString(string(out), "")
		return strings.ReplaceAll(said, runtime, rt.Path), err
	}
	if out, err := run("import", work+"/image.tar", "box"); err != nil {
		return nil, fmt.Errorf("podman import: %w: %s", err, out)
	}
	return run, nil
}

// podmanConf is of a machine without a network to set up and without journald,
// where a limit is set only if it is asked for. That gourd has JSON logs is
// what docs/engines.md has people say.
const podmanConf = `
[containers]
log_driver = "k8s-file"
netns = "none"
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["gourd"]
`

func hasController(name string) bool {
	data, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	return err == nil && slices.Contains(strings.Fields(string(data)), name)
}

func remountCgroup(readonly bool) error {
	option := "rw"
	if readonly {
		option = "ro"
	}
	out, err := exec.Command("mount", "-o", "remount,bind,"+option, "/sys/fs/cgroup").CombinedOutput()
	if err != nil {
		return fmt.Errorf("remount the cgroup filesystem: %w: %s", err, out)
	}
	return nil
}

var (
	warnings = regexp.MustCompile(`(?m)^time=.*level=warning.*\n`) // Podman's own, of the cgroup of its conmon
	idOf     = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	limits   = regexp.MustCompile(`hard limit from \d+ to`)
	hint     = regexp.MustCompile(`\n+Run 'docker run --help' for more information`)
)

// normal takes out what is of this run only.
func normal(out, work, runtime string) string {
	out = warnings.ReplaceAllString(out, "")
	out = hint.ReplaceAllString(out, "")
	out = strings.ReplaceAll(out, work, "$WORK")
	out = strings.ReplaceAll(out, runtime, "gourd")
	out = idOf.ReplaceAllString(out, "ID")
	out = limits.ReplaceAllString(out, "hard limit from N to")
	return strings.TrimSpace(out)
}
