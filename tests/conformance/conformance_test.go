package conformance

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gourd-oci/gourd/tests/world"
)

var update = flag.Bool("update", false, "write what comes out into the result file; its explanations stay")

func TestMain(m *testing.M) {
	world.Main(m, map[string]world.Inside{"program": runProgram, "documents": checkDocuments})
}

// resultFile says what comes out, and why. In the virtual machine it is beside
// the tests.
var resultFile = func() string {
	if os.Getenv("GOURD_TEST_VM") != "" {
		return "conformance.md"
	}
	return "../../docs/results/conformance.md"
}()

// TestRuntimeTools runs each program with gourd, or what GOURD_RUNTIME names,
// and with runc. One alone:
//
//	go test ./tests/conformance -run 'TestRuntimeTools/all/^mounts$' -v
func TestRuntimeTools(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	under, err := world.FindRuntime()
	if err != nil {
		t.Fatal(err)
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatalf("%v (Debian: runc)", err)
	}
	want, err := readResults(resultFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	dir, names := programs(t)
	var mu sync.Mutex
	got := results{rows: map[string]row{}}
	t.Run("all", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, rt := range []struct {
					path string
					into func(*row) *string
				}{
					{under.Path, func(r *row) *string { return &r.gourd }},
					{runc, func(r *row) *string { return &r.runc }},
				} {
					t.Run(filepath.Base(rt.path), func(t *testing.T) {
						t.Parallel()
						out := t.TempDir()
						world.Run(t, "program", strings.Join([]string{dir, name, rt.path, out}, "\n"))
						verdict, text := judge(t, out)
						t.Logf("%s\n%s", verdict, text)
						mu.Lock()
						defer mu.Unlock()
						r := got.rows[name]
						*rt.into(&r) = verdict
						got.rows[name] = r
						if why := want.rows[name].refuses(rt.into, verdict); why != "" && rt.path == under.Path && !*update {
							t.Errorf("%s: %s", name, why)
						}
					})
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	if *update {
		got.runc = version(t, runc)
		got.keep(want)
		if err := got.write(resultFile); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, r := range want.rows {
		if g, ran := got.rows[name]; ran && r.runc != g.runc {
			t.Logf("%s: runc (%s) %s, and the file says of %s: %s", name, version(t, runc), g.runc, want.runc, r.runc)
		}
	}
}

// TestResultsAreExplained holds the result file: all programs are there, and
// each failure has a sentence that is in the runtime-spec.
func TestResultsAreExplained(t *testing.T) {
	r, err := readResults(resultFile)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := os.ReadFile("tools/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range regexp.MustCompile(module+`/validation/(\w+)`).FindAllSubmatch(listed, -1) {
		n++
		if _, ok := r.rows[string(m[1])]; !ok {
			t.Errorf("%s is not in the file", m[1])
		}
	}
	if n != len(r.rows) || n != 58 {
		t.Errorf("%d programs are built, %d are in the file, and there are 58", n, len(r.rows))
	}
	spec := specText(t)
	for name, row := range r.rows {
		quotes := quoted.FindAllStringSubmatch(row.why, -1)
		if row.gourd != passes && len(quotes) == 0 {
			t.Errorf("%s: gourd %s, and no sentence of the spec says why", name, row.gourd)
		}
		for _, q := range quotes {
			if !strings.Contains(spec[q[1]], squeeze(q[2])) {
				t.Errorf("%s: this is not in %s of the spec: %s", name, q[1], q[2])
			}
		}
	}
}

// quoted is a sentence of the spec, after the file it is from.
var quoted = regexp.MustCompile(`([\w-]+\.md): “([^”]+)”`)

// specText returns the files of the runtime-spec that gourd is built with, as
// plain text.
func specText(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the runtime-spec's text: %v", err)
	}
	text := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text[filepath.Base(f)] = squeeze(string(data))
	}
	return text
}

// squeeze takes the marks of links and code and the ends of lines out.
func squeeze(s string) string {
	s = regexp.MustCompile(`\]\([^)]*\)|\]\[[^]]*\]`).ReplaceAllString(s, "")
	s = strings.NewReplacer("[", "", "`", "", "*", "").Replace(s)
	return strings.Join(strings.Fields(s), " ")
}

// runProgram runs a program, and stores what it says and its exit code.
func runProgram(t *world.T, arg string) {
	a := strings.Split(arg, "\n")
	dir, name, runtime, out := a[0], a[1], a[2], a[3]
	tmp := world.Scratch + "/tmp"
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, name))
	cmd.Dir = dir // runtimetest and the root filesystem are there
	cmd.Env = append(os.Environ(), "RUNTIME="+runtime, "TMPDIR="+tmp)
	var tap, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &tap, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{"tap": tap.Bytes(), "stderr": errs.Bytes(), "exit": fmt.Append(nil, cmd.ProcessState.ExitCode())} {
		if err := os.WriteFile(filepath.Join(out, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The verdicts on a program.
const (
	passes = "passes"
	fails  = "fails"
)

// diagnosed is the error of a program that has nothing to say but this.
var diagnosed = regexp.MustCompile(`"error": "[^"]`)

// judge returns whether the program passes, and what it said against it.
func judge(t *testing.T, out string) (verdict, text string) {
	t.Helper()
	read := func(file string) string {
		data, err := os.ReadFile(filepath.Join(out, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tap, code := read("tap"), read("exit")
	ok, against := 0, []string{}
	for line := range strings.Lines(tap) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "not ok"):
			against = append(against, line)
		case strings.HasPrefix(line, "ok"):
			ok++
		case ok+len(against) == 0 && diagnosed.MatchString(line):
			against = append(against, line)
		}
	}
	if code != "0" {
		against = append(against, "exit code "+code)
	}
	if len(against) == 0 {
		return passes, fmt.Sprintf("%d checks", ok)
	}
	return fails, strings.Join(against, "\n") + "\n" + read("stderr")
}

func version(t *testing.T, runc string) string {
	t.Helper()
	out, err := exec.Command(runc, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(first, "runc version ")
}
