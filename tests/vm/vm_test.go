package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadTests(t *testing.T) {
	const in = `{"Action":"start"}
{"Action":"run","Test":"TestScripts"}
{"Action":"run","Test":"TestScripts/a"}
{"Action":"output","Test":"TestScripts/a","Output":"=== RUN   TestScripts/a\n"}
{"Action":"output","Test":"TestScripts/a","Output":"    script_test.go:7: not built yet\n"}
{"Action":"output","Test":"TestScripts/a","Output":"    --- SKIP: TestScripts/a (0.1s)\n"}
{"Action":"skip","Test":"TestScripts/a"}
{"Action":"run","Test":"TestScripts/b"}
{"Action":"output","Test":"TestScripts/b","Output":"    world.go:7: > runtime run\n"}
{"Action":"output","Test":"TestScripts/b","Output":"        exit code 1\n"}
{"Action":"fail","Test":"TestScripts/b"}
{"Action":"run","Test":"TestScripts/c"}
{"Action":"pass","Test":"TestOther"}
{"Action":"fail","Test":"TestScripts"}
{"Action":"output","Output":"FAIL\n"}
{"Action":"fail"}
`
	tests, err := readTests(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	r := result{tests: tests}
	names := func(action string) string {
		var names []string
		for _, o := range r.with(action) {
			names = append(names, o.short())
		}
		return strings.Join(names, " ")
	}
	for action, want := range map[string]string{"skip": "a", "fail": "b", "": "c", "pass": "TestOther"} {
		if got := names(action); got != want {
			t.Errorf("%q: %q, want %q", action, got, want)
		}
	}
	if got := r.with("skip")[0].reason(); got != "not built yet" {
		t.Errorf("the reason is %q", got)
	}
	if got := r.with("fail")[0].output; len(got) != 2 {
		t.Errorf("the failed test said %q", got)
	}
}

func TestResultOfAStepThatDidNotEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []event
		failed bool
	}{
		{"nothing came", nil, true},
		{"lines only", []event{{Output: "PASS"}}, true},
		{"passed", []event{{Output: "PASS"}, {Ended: true}}, false},
		{"failed", []event{{Ended: true, Exit: 1}}, true},
		{"ended", []event{{Ended: true, Exit: -1, Error: "ended after 3 minutes"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r result
			for _, e := range tt.events {
				r.take(e)
			}
			if r.failed() != tt.failed {
				t.Errorf("failed = %v, want %v (%s)", r.failed(), tt.failed, r.why())
			}
		})
	}
}

func TestStepRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []event
	}{
		{"passes", []string{"sh", "-c", "echo one; echo; printf $WORD"},
			[]event{{Output: "one"}, {}, {Output: "two"}, {Ended: true}}},
		{"fails", []string{"sh", "-c", "exit 3"}, []event{{Ended: true, Exit: 3}}},
		{"is killed", []string{"sh", "-c", "kill -9 $$"}, []event{{Ended: true, Exit: -1, Error: "ended by killed"}}},
		{"is not there", []string{"/nonexistent"}, []event{{Ended: true, Exit: -1, Error: "fork/exec /nonexistent: no such file or directory"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []event
			s := step{Name: "s", Args: tt.args, Env: []string{"WORD=two"}, Minutes: 5}
			s.run(t.TempDir(), func(e event) { got = append(got, e) })
			for i := range tt.want {
				tt.want[i].Step = "s"
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("events %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReadEvents(t *testing.T) {
	var got []string
	err := readEvents(strings.NewReader(`{"Step":"a","Output":"x"}`+"\n"+`{"Step":"(end)"}`+"\n"),
		func(e event) { got = append(got, e.Step) })
	if err != nil || !slices.Equal(got, []string{"a", "(end)"}) {
		t.Errorf("events %q, %v", got, err)
	}
	if err := readEvents(strings.NewReader("{\"Step\":\n"), func(event) {}); err == nil {
		t.Error("half an event is no error")
	}
}

func TestFindScripts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"marked.txtar":  "# text\n[!vm] skip 'needs io'\n",
		"half.txtar":    "bundle b\n[vm] runtime run --bundle b c\n",
		"plain.txtar":   "bundle b # [vm]\n",
		"debian.txtar":  "[gourd] debian b\n",
		"labels.txtar":  "[!lsm:selinux] skip 'needs SELinux'\nbundle b\n",
		"no-script.txt": "[!vm] skip\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := findScripts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"half", "marked"}; !slices.Equal(s.marked, want) {
		t.Errorf("marked %q, want %q", s.marked, want)
	}
	if want := []string{"debian", "plain"}; !slices.Equal(s.others, want) {
		t.Errorf("others %q, want %q", s.others, want)
	}
	if want := []string{"labels"}; !slices.Equal(s.selinux, want) {
		t.Errorf("with SELinux %q, want %q", s.selinux, want)
	}
	for _, tt := range []struct {
		names []string
		want  bool
	}{{s.marked, false}, {s.all(), true}} {
		if got, err := wantDebian(dir, tt.names); err != nil || got != tt.want {
			t.Errorf("wantDebian(%q) = %v, %v", tt.names, got, err)
		}
	}
	if _, err := findScripts(t.TempDir()); err == nil {
		t.Error("a directory without scripts is no error")
	}
}

// What is not run is always told.
func TestChooseTellsWhatIsLeftOut(t *testing.T) {
	all := scripts{marked: []string{"vm-a"}, others: []string{"b", "c.d"}}
	for _, tt := range []struct {
		name string
		o    options
		ways string
		run  []string
		left []string
	}{
		{"marked", options{minutes: 9}, "root rootless", []string{"vm-a"}, []string{"2 scripts", "3 scripts with a user namespace", "3 scripts as an ordinary user", "validation programs"}},
		{"full", options{minutes: 9, full: true}, "root userns rootless rootless", []string{"b", "c.d", "vm-a"}, nil},
		{"host", options{minutes: 9, host: true}, "root userns rootless", []string{"b", "c.d", "vm-a"}, nil},
		{"some", options{minutes: 9, scripts: "b", ways: "root"}, "root", []string{"b"}, []string{"all but the 1"}},
		{"conformance", options{minutes: 9, scripts: "conformance", ways: "root"}, "", nil, []string{"all but the 0"}},
		{"some in some ways", options{minutes: 9, scripts: "b", ways: "rootless,userns"}, "userns rootless", []string{"b"}, []string{"all but the 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r report
			names, pl := choose(tt.o, all, "/here", &r)
			if !slices.Equal(names, tt.run) {
				t.Errorf("runs %q, want %q", names, tt.run)
			}
			if len(r.left) != len(tt.left) {
				t.Fatalf("left out: %q", r.left)
			}
			for i, want := range tt.left {
				if !strings.Contains(r.left[i], want) {
					t.Errorf("left out: %q, want something of %q", r.left[i], want)
				}
			}
			var ways []string
			for _, s := range pl.Steps {
				for _, e := range s.Env {
					if way, ok := strings.CutPrefix(e, "GOURD_TEST_WAY="); ok {
						ways = append(ways, way)
					}
				}
			}
			if got := strings.Join(ways, " "); got != tt.ways {
				t.Errorf("the ways are %q, want %q", got, tt.ways)
			}
			runs := slices.ContainsFunc(pl.Steps, func(s step) bool { return s.Name == conformance })
			if want := tt.o.full || tt.o.scripts == conformance; runs != want {
				t.Errorf("the validation programs run: %v, want %v", runs, want)
			}
			last := pl.Steps[len(pl.Steps)-1]
			wantEnv := "GOURD_RUNTIME=" + payloadDir + "/gourd"
			if tt.o.host {
				wantEnv = "GOURD_RUNTIME=/here/gourd"
			}
			if !slices.Contains(last.Env, wantEnv) {
				t.Errorf("the environment is %q, want %s in it", last.Env, wantEnv)
			}
		})
	}
}

// The scripts of SELinux have steps of their own, for a boot of their own, one of
// which runs them under runc. On this host they are scripts as others are.
func TestChooseSELinux(t *testing.T) {
	all := scripts{marked: []string{"vm-a"}, others: []string{"b"}, selinux: []string{"labels"}}
	for _, tt := range []struct {
		name  string
		o     options
		steps []string // of the boot with SELinux
	}{
		{"marked", options{minutes: 9}, nil},
		{"full", options{minutes: 9, full: true}, []string{"SELinux: scripts as root", "SELinux: scripts with a user namespace", "SELinux: scripts as an ordinary user", "SELinux: scripts under runc", "SELinux: scripts of tests/prepare"}},
		{"asked for", options{minutes: 9, scripts: "b,labels", ways: "root"}, []string{"SELinux: scripts as root", "SELinux: scripts under runc", "SELinux: scripts of tests/prepare"}},
		{"not asked for", options{minutes: 9, scripts: "b", ways: "root"}, nil},
		{"host", options{minutes: 9, host: true}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r report
			_, pl := choose(tt.o, all, "/here", &r)
			var steps []string
			for _, s := range pl.Steps {
				if s.SELinux {
					steps = append(steps, s.Name)
				}
				if s.Dir != "integration" {
					continue
				}
				if runs := strings.Contains(strings.Join(s.Args, " "), "labels"); runs != (s.SELinux || tt.o.host) {
					t.Errorf("step %q, with SELinux %v: %q", s.Name, s.SELinux, s.Args)
				}
			}
			if !slices.Equal(steps, tt.steps) {
				t.Errorf("steps %q, want %q", steps, tt.steps)
			}
			if left := strings.Join(r.left, "\n"); tt.name == "marked" && !strings.Contains(left, "1 scripts that have a boot with SELinux") {
				t.Errorf("left out: %s", left)
			}
		})
	}
}

// After a panic only what had not ended is run again.
func TestWhatIsRunAgain(t *testing.T) {
	r := report{results: []*result{
		{step: step{Name: "ended"}, lines: []string{"PASS"}, end: event{Ended: true}},
		{step: step{Name: "half"}, lines: []string{"=== RUN"}},
		{step: step{Name: "not begun"}},
		{step: step{Name: "of another boot", SELinux: true}},
	}}
	if p := r.toRun(true); len(p.Steps) != 1 || p.Steps[0].Name != "of another boot" {
		t.Errorf("runs with SELinux: %+v", p.Steps)
	}
	p := r.toRun(false)
	if len(p.Steps) != 2 || p.Steps[0].Name != "half" || p.Steps[1].Name != "not begun" {
		t.Errorf("runs again: %+v", p.Steps)
	}
	if len(r.results[0].lines) != 1 || len(r.results[1].lines) != 0 {
		t.Errorf("kept of the one that ended %q, of the one that did not %q", r.results[0].lines, r.results[1].lines)
	}
}

func TestRecipeKey(t *testing.T) {
	r := theMachine()
	if r.key() != theMachine().key() {
		t.Error("the same recipe has two keys")
	}
	r.Packages = append(r.Packages, "another")
	if r.key() == theMachine().key() {
		t.Error("another recipe has the same key")
	}
}

// A machine that says nothing more is told apart from tests that fail, and its
// console's end is shown.
func TestBootTroubles(t *testing.T) {
	for _, tt := range []struct {
		name, qemu string
		limit      time.Duration
		want       string // in the error; "" for none
	}{
		{"all ran", `echo '{"Step":"(end)"}'`, time.Hour, ""},
		{"off too early", `echo '{"Step":"s","Output":"half"}'`, time.Hour, `before all was run; it last said s: "half"`},
		{"no QEMU as it should be", `echo bad option >&2; exit 1`, time.Hour, "bad option"},
		{"hangs", `echo '{"Step":"s","Output":"half"}'; exec sleep 1000`, 5 * time.Second, `was ended after 5s; it last said s: "half"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\nprintf 'one\\033[0m\\r\\ntwo\\n' >" + dir + "/console.log\n" + tt.qemu + "\n"
			if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			err := boot{dir: dir, limit: tt.limit}.run(func(event) {})
			var trouble *errMachine
			switch {
			case tt.want == "" && err == nil:
			case tt.want == "" || !errors.As(err, &trouble):
				t.Errorf("error %v", err)
			case !strings.Contains(trouble.why, tt.want):
				t.Errorf("why: %s, want %q in it", trouble.why, tt.want)
			case trouble.panicked():
				t.Errorf("taken for a panic: %v", err)
			case trouble.console != "one\ntwo":
				t.Errorf("the console's end is %q", trouble.console)
			}
		})
	}
}

func TestReportIsWritten(t *testing.T) {
	s := &result{step: step{Name: "scripts as root"}, end: event{Ended: true, Exit: 1}, tests: []outcome{
		{"TestScripts/a", "pass", nil},
		{"TestScripts/b", "fail", []string{"exit code 1"}},
		{"TestScripts/c", "skip", []string{"    x.go:1: not here"}},
	}}
	r := report{title: "T", machine: []string{"kernel: 6.12"}, results: []*result{s}, left: []string{"much"}}
	path := filepath.Join(t.TempDir(), "r.md")
	if err := r.write(path, "commit x", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 January 1970", "commit x", "- kernel: 6.12", "- much",
		"| scripts as root | 1 | 1 | 1 | exit code 1 |",
		"- scripts as root: a\n", "exit code 1\n```", "c: not here",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is not in the report:\n%s", want, data)
		}
	}
}

// What a failed test has said is told as it ends, though others spoke meanwhile.
func TestTakerTellsWhatFailed(t *testing.T) {
	var b strings.Builder
	take := taker(&report{results: []*result{{step: step{Name: "s"}}}}, &b)
	for _, line := range []string{
		"\x16=== CONT  TestScripts/a", "    why a failed",
		"\x16=== CONT  TestScripts/b", "    what b said",
		"\x16=== NAME  TestScripts/a", "    and where",
		"\x16--- PASS: TestScripts/b (0.10s)", "\x16=== NAME  TestScripts/a", "    at last", "\x16--- FAIL: TestScripts/a (0.20s)",
	} {
		take(event{Step: "s", Output: line})
	}
	got := regexp.MustCompile(` *\d+s `).ReplaceAllString(b.String(), "")
	want := "--- PASS: TestScripts/b (0.10s)\n    why a failed\n    and where\n    at last\n--- FAIL: TestScripts/a (0.20s)\n"
	if got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}
