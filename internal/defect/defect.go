// Package defect collects what is wrong with a config.json, each defect with
// its JSON path, so that all of them can be told at once.
//
// It knows nothing of the runtime-spec: the packages that compile a part of
// the config add to a List that the caller hands them.
package defect

import (
	"fmt"
	"strings"
)

// Defect is one thing that is wrong: where (a JSON path such as
// "linux.resources.memory.limit" or "mounts[3].options[1]") and why.
type Defect struct {
	Path    string
	Problem string
}

// String returns "path: problem".
func (d Defect) String() string {
	if d.Path == "" { // of the whole
		return d.Problem
	}
	return d.Path + ": " + d.Problem
}

// List is a growing list of defects. The zero value is empty and ready.
type List []Defect

// Add appends a defect at the JSON path.
func (l *List) Add(path, format string, args ...any) {
	*l = append(*l, Defect{Path: path, Problem: fmt.Sprintf(format, args...)})
}

// Err returns nil when the list is empty, else an *Error that holds it.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return &Error{Defects: l}
}

// Error is the error of a config with defects. Its text is one line, because
// engines show their users one line of a runtime's log.
type Error struct {
	Defects List
	File    string // where they are; "" is config.json
}

// Error returns "FILE: PATH: PROBLEM", with the defects separated by
// semicolons when there are several.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File == "" {
		b.WriteString("config.json")
	}
	b.WriteString(e.File)
	b.WriteString(": ")
	for i, d := range e.Defects {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.String())
	}
	return b.String()
}
