package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// An outcome is how one test ended.
type outcome struct {
	name   string
	action string // pass, fail or skip, as test2json has it; "" if it did not end
	output []string
}

// A result is all that is known of a step.
type result struct {
	step  step
	lines []string // what the test binary wrote
	end   event    // its Ended event; the zero event if none came
	tests []outcome
}

// take adds an event of the step.
func (r *result) take(e event) {
	if e.Ended {
		r.end = e
		return
	}
	r.lines = append(r.lines, e.Output)
}

// failed tells whether the step was not run to its end with everything passed.
func (r *result) failed() bool { return !r.end.Ended || r.end.Exit != 0 }

// why tells, of a step that failed, how.
func (r *result) why() string {
	switch {
	case !r.end.Ended:
		return "it was not run to its end"
	case r.end.Error != "":
		return r.end.Error
	}
	return fmt.Sprintf("exit code %d", r.end.Exit)
}

// read finds the tests in what the binary wrote, with go's own test2json.
func (r *result) read() error {
	cmd := exec.Command("go", "tool", "test2json")
	cmd.Stdin = strings.NewReader(strings.Join(r.lines, "\n") + "\n")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go tool test2json: %w: %s", err, said.String())
	}
	r.tests, err = readTests(bytes.NewReader(out))
	return err
}

// readTests reads test2json's lines (go doc test2json) and returns the tests
// that have no parts of their own, in the order in which they began.
func readTests(in io.Reader) ([]outcome, error) {
	var all []*outcome
	byName := map[string]*outcome{}
	for d := json.NewDecoder(in); ; {
		var e struct{ Action, Test, Output string }
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("test2json: %w", err)
		}
		if e.Test == "" {
			continue
		}
		o := byName[e.Test]
		if o == nil {
			o = &outcome{name: e.Test}
			byName[e.Test] = o
			all = append(all, o)
		}
		switch e.Action {
		case "pass", "fail", "skip":
			o.action = e.Action
		case "output":
			if line := strings.TrimSuffix(e.Output, "\n"); !framework(line) {
				o.output = append(o.output, line)
			}
		}
	}
	var leaves []outcome
	for _, o := range all {
		parent := slices.ContainsFunc(all, func(c *outcome) bool { return strings.HasPrefix(c.name, o.name+"/") })
		if !parent || len(o.output) > 0 && o.action != "pass" {
			leaves = append(leaves, *o)
		}
	}
	return leaves, nil
}

// framework tells whether the line is go test's own.
func framework(line string) bool {
	line = strings.TrimLeft(line, " ")
	for _, p := range []string{"=== ", "--- PASS", "--- FAIL", "--- SKIP"} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

// short is the test's name without the part that all of them share.
func (o outcome) short() string { return strings.TrimPrefix(o.name, "TestScripts/") }

// reason is why the test was skipped: the last it said.
func (o outcome) reason() string {
	if len(o.output) == 0 {
		return "no reason given"
	}
	text := strings.TrimSpace(o.output[len(o.output)-1])
	if _, after, ok := strings.Cut(text, ".go:"); ok {
		if _, message, ok := strings.Cut(after, ": "); ok {
			return message
		}
	}
	return text
}

// with returns the tests that ended with the action.
func (r *result) with(action string) []outcome {
	var some []outcome
	for _, o := range r.tests {
		if o.action == action {
			some = append(some, o)
		}
	}
	return some
}
