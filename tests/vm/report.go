package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A report is all that one run has to tell.
type report struct {
	title   string
	machine []string // what it was run on
	results []*result
	left    []string // what was left out, a sentence each
	trouble error    // what went wrong with the machine itself
}

// failed tells whether any test failed.
func (r *report) failed() bool {
	for _, s := range r.results {
		if s.failed() {
			return true
		}
	}
	return false
}

// toRun is the plan of the steps, of a boot with or without SELinux, that were
// not run to their end. What is known of them is forgotten.
func (r *report) toRun(selinux bool) plan {
	var p plan
	for _, s := range r.results {
		if !s.end.Ended && s.step.SELinux == selinux {
			s.lines = nil
			p.Steps = append(p.Steps, s.step)
		}
	}
	return p
}

// tellLines is how much is shown of what a failed test wrote.
const tellLines = 60

// tell writes the report for a reader at a terminal: failures in full,
// otherwise little.
func (r *report) tell(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.title)
	for _, l := range r.machine {
		fmt.Fprintf(w, "  %s\n", l)
	}
	for _, s := range r.results {
		fmt.Fprintf(w, "%s: %s\n", s.step.Name, s.count())
		for _, o := range s.with("skip") {
			fmt.Fprintf(w, "  skipped %s: %s\n", o.short(), o.reason())
		}
		if !s.failed() {
			continue
		}
		fmt.Fprintf(w, "  FAILED: %s\n", s.why())
		for _, o := range append(s.with("fail"), s.with("")...) {
			fmt.Fprintf(w, "  FAIL %s\n%s\n", o.short(), indent(lastOf(o.output, tellLines)))
		}
		if len(s.with("fail")) == 0 {
			fmt.Fprintf(w, "%s\n", indent(lastOf(s.lines, tellLines)))
		}
	}
	for _, l := range r.left {
		fmt.Fprintf(w, "left out: %s\n", l)
	}
	if r.trouble != nil {
		fmt.Fprintf(w, "THE MACHINE: %v\n", r.trouble)
	}
}

// write writes the report as a page of docs/results.
func (r *report) write(path, commit string, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s, of %s.\n\n", r.title, now.UTC().Format("2 January 2006, 15:04 UTC"), commit)
	for _, l := range r.machine {
		fmt.Fprintf(&b, "- %s\n", l)
	}
	fmt.Fprint(&b, "\n| what | passed | failed | skipped | |\n|---|---|---|---|---|\n")
	for _, s := range r.results {
		end := "all run"
		if s.failed() {
			end = s.why()
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", s.step.Name,
			len(s.with("pass")), len(s.with("fail"))+len(s.with("")), len(s.with("skip")), end)
	}
	if len(r.left) > 0 {
		fmt.Fprint(&b, "\n## Left out\n\n")
		for _, l := range r.left {
			fmt.Fprintf(&b, "- %s\n", l)
		}
	}
	for _, part := range []struct{ heading, action string }{
		{"Failed", "fail"}, {"Did not end", ""}, {"Skipped", "skip"}, {"Passed", "pass"},
	} {
		r.writePart(&b, part.heading, part.action)
	}
	if r.trouble != nil {
		fmt.Fprintf(&b, "\n## The machine\n\n```\n%v\n```\n", r.trouble)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// writePart lists the tests of all steps that ended with the action.
func (r *report) writePart(b *strings.Builder, heading, action string) {
	var lines []string
	for _, s := range r.results {
		for _, o := range s.with(action) {
			line := fmt.Sprintf("- %s: %s", s.step.Name, o.short())
			switch action {
			case "skip":
				line += ": " + o.reason()
			case "fail":
				line += "\n\n```\n" + strings.Join(lastOf(o.output, 25), "\n") + "\n```\n"
			}
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n## %s\n\n%s\n", heading, strings.Join(lines, "\n"))
	}
}

// count tells how the step's tests ended, in a few words.
func (r *result) count() string {
	text := fmt.Sprintf("%d passed, %d failed, %d skipped", len(r.with("pass")), len(r.with("fail")), len(r.with("skip")))
	if n := len(r.with("")); n > 0 {
		text += fmt.Sprintf(", %d did not end", n)
	}
	return text
}

func lastOf(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

func indent(lines []string) string {
	return "    " + strings.ReplaceAll(strings.Join(lines, "\n"), "\n", "\n    ")
}

// commitOf names the commit of the work tree, and whether it has changes.
func commitOf(repo string) string {
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	head := git("rev-parse", "--short", "HEAD")
	switch {
	case head == "":
		return "a tree that is no git work tree"
	case git("status", "--porcelain") != "":
		return "commit " + head + " with changes that are not committed"
	}
	return "commit " + head
}
