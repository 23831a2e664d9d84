package spec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// The decoder reads JSON into runtime-spec's types as encoding/json would,
// which a fuzz test holds it to. It exists for two reasons: it knows where it
// is, so that every wrong value is told with its JSON path, line and column;
// and it is fast in a process that decodes one config and ends, where
// encoding/json spends most of its time on building its caches.
//
// It differs from encoding/json on purpose in three things: properties of
// other platforms are skipped unread, the second of two equal keys replaces a
// list instead of overwriting its elements, and decoding goes on after a
// value of the wrong type, so that all of them are told.

// maxDepth is how deep values may nest; encoding/json has the same limit.
const maxDepth = 10000

// maxTypeErrors is after how many values of a wrong type decoding stops.
const maxTypeErrors = 20

// SyntaxError says where a config stops being JSON.
type SyntaxError struct {
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
	return fmt.Sprintf("%s: line %d, column %d%s: %s", ConfigName, e.Line, e.Column, in, e.Problem)
}

// Decode decodes the content of a config.json. Its errors are Load's.
func Decode(data []byte) (*specs.Spec, error) {
	d := decoder{data: data}
	s := new(specs.Spec)
	if d.space(); d.peek() == 'n' {
		if err := d.skip(); err != nil {
			return nil, err
		}
		return nil, d.syntax("the config must be an object, not null")
	}
	if err := d.value(reflect.ValueOf(s).Elem()); err != nil {
		return nil, err
	}
	if d.space(); d.pos < len(d.data) {
		return nil, d.syntax("there is more after the end of the config")
	}
	if err := d.defects.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

type decoder struct {
	data    []byte
	pos     int
	path    []step
	depth   int
	types   []structType
	defects defect.List
}

// step is one element of a JSON path: an index, or a key where index is -1.
type step struct {
	key   string
	index int
}

// structType is what decoding has to know of a struct type.
type structType struct {
	t      reflect.Type
	fields []field
}

type field struct {
	name    string
	index   []int
	foreign bool // of another platform
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
	return line, utf8.RuneCount(before[start:]) + 1
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
	r, _ := utf8.DecodeRune(d.data[d.pos:])
	return d.syntax(strconv.QuoteRune(r) + " where " + wanted + " should be")
}

// wrongType records that the value that starts at offset has the wrong type.
func (d *decoder) wrongType(offset int, is, wanted string) error {
	line, column := d.position(offset)
	path := d.where()
	if path == "" {
		path = ConfigName
	}
	d.defects.Add(path, "%s where %s belongs (line %d, column %d)", is, wanted, line, column)
	if len(d.defects) >= maxTypeErrors {
		return d.defects.Err()
	}
	return nil
}

// space moves to the next byte that is not white space.
func (d *decoder) space() {
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ' ', '\t', '\r', '\n':
			d.pos++
		default:
			return
		}
	}
}

// peek returns the byte at the current position, 0 at the end. (A NUL byte is
// not JSON, so that the two need not be told apart.)
func (d *decoder) peek() byte {
	if d.pos < len(d.data) {
		return d.data[d.pos]
	}
	return 0
}

// value decodes the value at the current position into v.
func (d *decoder) value(v reflect.Value) error {
	d.space()
	start := d.pos
	c := d.peek()
	if c == 'n' {
		if err := d.literal("null"); err != nil {
			return err
		}
		switch v.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			v.SetZero()
		}
		return nil
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	switch c {
	case '{':
		switch v.Kind() {
		case reflect.Struct:
			return d.structure(v)
		case reflect.Map:
			return d.mapping(v)
		}
	case '[':
		if v.Kind() == reflect.Slice {
			return d.list(v)
		}
	case '"':
		if v.Kind() == reflect.String {
			s, err := d.str()
			if err == nil {
				v.SetString(s)
			}
			return err
		}
	case 't', 'f':
		if v.Kind() == reflect.Bool {
			word := "true"
			if c == 'f' {
				word = "false"
			}
			v.SetBool(c == 't')
			return d.literal(word)
		}
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return d.number(v)
	}
	// The value is of the wrong type, or none at all: skip tells which.
	if err := d.skip(); err != nil {
		return err
	}
	return d.wrongType(start, kindOf(c), belongs(v.Kind()))
}

// kindOf names the JSON type of a value by its first byte.
func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// belongs names the JSON type that decodes into a kind.
func belongs(k reflect.Kind) string {
	switch k {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a number from 0 on"
	}
	return "a number"
}

// structure decodes an object into a struct.
func (d *decoder) structure(v reflect.Value) error {
	fields := d.fields(v.Type())
	return d.object(func(key string) error {
		f := find(fields, key)
		if f == nil || f.foreign {
			return d.skip()
		}
		d.path[len(d.path)-1].key = f.name
		to := v
		for _, i := range f.index {
			to = to.Field(i)
		}
		return d.value(to)
	})
}

// mapping decodes an object into a map with string keys.
func (d *decoder) mapping(v reflect.Value) error {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	elem := reflect.New(v.Type().Elem()).Elem()
	return d.object(func(key string) error {
		elem.SetZero()
		if err := d.value(elem); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
		return nil
	})
}

// object reads an object and calls member at the value of each key.
func (d *decoder) object(member func(key string) error) error {
	d.pos++ // {
	if err := d.enter(); err != nil {
		return err
	}
	d.space()
	if d.peek() == '}' {
		d.pos++
		d.depth--
		return nil
	}
	for {
		d.space()
		if d.peek() != '"' {
			return d.unexpected("a key in quotes")
		}
		key, err := d.str()
		if err != nil {
			return err
		}
		d.space()
		if d.peek() != ':' {
			return d.unexpected("a colon")
		}
		d.pos++
		d.path = append(d.path, step{key, -1})
		if err := member(key); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			d.depth--
			return nil
		default:
			return d.unexpected("a comma or }")
		}
	}
}

// list decodes an array into a slice.
func (d *decoder) list(v reflect.Value) error {
	// The common case, without reflection for every element.
	if texts, ok := v.Addr().Interface().(*[]string); ok {
		*texts = []string{}
		return d.array(func(int) error {
			if d.space(); d.peek() == '"' {
				s, err := d.str()
				*texts = append(*texts, s)
				return err
			}
			*texts = append(*texts, "")
			return d.value(reflect.ValueOf(&(*texts)[len(*texts)-1]).Elem())
		})
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.array(func(i int) error {
		if i == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(i + 1)
		return d.value(v.Index(i))
	})
}

// array reads an array and calls element at each of its values.
func (d *decoder) array(element func(i int) error) error {
	d.pos++ // [
	if err := d.enter(); err != nil {
		return err
	}
	d.space()
	if d.peek() == ']' {
		d.pos++
		d.depth--
		return nil
	}
	for i := 0; ; i++ {
		d.path = append(d.path, step{"", i})
		if err := element(i); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			d.depth--
			return nil
		default:
			return d.unexpected("a comma or ]")
		}
	}
}

// enter counts how deep objects and arrays nest.
func (d *decoder) enter() error {
	if d.depth++; d.depth > maxDepth {
		return d.syntax("the values nest too deep")
	}
	return nil
}

// skip reads a value and forgets it.
func (d *decoder) skip() error {
	d.space()
	switch c := d.peek(); {
	case c == '{':
		return d.object(func(string) error { return d.skip() })
	case c == '[':
		return d.array(func(int) error { return d.skip() })
	case c == '"':
		_, err := d.str()
		return err
	case c == 't':
		return d.literal("true")
	case c == 'f':
		return d.literal("false")
	case c == 'n':
		return d.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err := d.numeral()
		return err
	}
	return d.unexpected("a value")
}

// literal reads the word true, false or null.
func (d *decoder) literal(word string) error {
	for i := range len(word) {
		if d.peek() != word[i] {
			return d.unexpected(strconv.QuoteRune(rune(word[i])) + " of " + word)
		}
		d.pos++
	}
	return nil
}

// number decodes a number into an integer kind.
func (d *decoder) number(v reflect.Value) error {
	start := d.pos
	text, err := d.numeral()
	if err != nil {
		return err
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(n) {
			return d.wrongType(start, text, fmt.Sprintf("a whole number of %d bits", v.Type().Bits()))
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || v.OverflowUint(n) {
			return d.wrongType(start, text, fmt.Sprintf("a whole number of %d bits, from 0 on,", v.Type().Bits()))
		}
		v.SetUint(n)
	default:
		return d.wrongType(start, "a number", belongs(v.Kind()))
	}
	return nil
}

// numeral reads a number (RFC 8259, section 6) and returns its text.
func (d *decoder) numeral() (string, error) {
	start := d.pos
	if d.peek() == '-' {
		d.pos++
	}
	if d.peek() == '0' {
		d.pos++
	} else if !d.digits() {
		return "", d.unexpected("a digit")
	}
	if d.peek() == '.' {
		d.pos++
		if !d.digits() {
			return "", d.unexpected("a digit")
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.peek(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return "", d.unexpected("a digit")
		}
	}
	return string(d.data[start:d.pos]), nil
}

// digits moves over digits and returns whether there were any.
func (d *decoder) digits() bool {
	start := d.pos
	for c := d.peek(); '0' <= c && c <= '9'; c = d.peek() {
		d.pos++
	}
	return d.pos > start
}
