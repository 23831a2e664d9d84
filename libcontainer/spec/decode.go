package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

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

// Decode decodes the content of a config.json. Its errors are Load's.
func Decode(data []byte) (*specs.Spec, error) {
	d := decoder{data: string(data)}
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
	// data is one string, and the strings of what is decoded are parts of it.
	data    string
	pos     int
	path    []step
	depth   int
	types   []structType
	defects defect.List
	skipped *defect.List // where to note what is passed over; nil: nowhere
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

// rawType is what takes any value as it is.
var rawType = reflect.TypeFor[json.RawMessage]()

// value decodes the value at the current position into v.
func (d *decoder) value(v reflect.Value) error {
	d.space()
	start := d.pos
	c := d.peek()
	if v.Type() == rawType {
		err := d.skip()
		v.SetBytes([]byte(d.data[start:d.pos]))
		return err
	}
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
	seen := d.keys()
	return d.object(func(key string) error {
		f := find(fields, key)
		switch {
		case f == nil:
			d.pass("ignored: gourd knows no such property")
			return d.skip()
		case f.foreign:
			d.pass("ignored: it is of another platform than Linux")
			return d.skip()
		}
		d.path[len(d.path)-1].key = f.name
		seen.add(f.name)
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
	seen := d.keys()
	return d.object(func(key string) error {
		seen.add(key)
		elem.SetZero()
		if err := d.value(elem); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
		return nil
	})
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
