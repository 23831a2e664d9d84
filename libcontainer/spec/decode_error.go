package spec

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTypeErrors is after how many values of a wrong type decoding stops.
const maxTypeErrors = 20

// SyntaxError says where a config stops being JSON.
type SyntaxError struct {
	File         string // its name; "" is config.json
	Path         string // JSON path of the value being read, "" at the top
	Line, Column int    // from 1; Column counts characters
	Problem      string
}

// Error returns "config.json: line 3, column 7 (in process.args): PROBLEM".
func (e *SyntaxError) Error() string {
	in := ""
	if e.Path != "" {
		in = " (in " + e.Path + ")"
	}
	file := e.File
	if file == "" {
		file = ConfigName
	}
	return fmt.Sprintf("%s: line %d, column %d%s: %s", file, e.Line, e.Column, in, e.Problem)
}

// where returns the JSON path of the value being read.
func (d *decoder) where() string {
	var b strings.Builder
	for i, s := range d.path {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case s.key == "" || strings.ContainsAny(s.key, ".[]\"\\ ;") || strings.ContainsFunc(s.key, unicode.IsControl):
			b.WriteString("[" + strconv.Quote(s.key) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
	}
	return b.String()
}

// position turns an offset into line and column.
func (d *decoder) position(offset int) (line, column int) {
	before := d.data[:min(offset, len(d.data))]
	line, start := 1, 0
	for i, c := range before {
		if c == '\n' {
			line++
			start = i + 1
		}
	}
	return line, utf8.RuneCountInString(before[start:]) + 1
}

func (d *decoder) syntax(problem string) error {
	line, column := d.position(d.pos)
	return &SyntaxError{Path: d.where(), Line: line, Column: column, Problem: problem}
}

// unexpected is the syntax error for what stands at the current position.
func (d *decoder) unexpected(wanted string) error {
	if d.pos >= len(d.data) {
		return d.syntax("the file ends where " + wanted + " should be")
	}
	r, _ := utf8.DecodeRuneInString(d.data[d.pos:])
	return d.syntax(strconv.QuoteRune(r) + " where " + wanted + " should be")
}

// wrongType records that the value that starts at offset has the wrong type.
func (d *decoder) wrongType(offset int, is, wanted string) error {
	line, column := d.position(offset)
	d.defects.Add(d.where(), "%s where %s belongs (line %d, column %d)", is, wanted, line, column)
	if len(d.defects) >= maxTypeErrors {
		return d.defects.Err()
	}
	return nil
}
