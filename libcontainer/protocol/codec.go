package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// Marshal encodes plain data: structs of exported fields, slices, arrays,
// pointers, strings, bools and integers, nested as deep as they like. Both
// ends are the same binary, so nothing but the values is written: no names,
// no types. It is an error to hand it a map, an interface, a func, a float or
// a channel; a test marshals every message type, so that this shows there. A
// pointer at the top stands for what it points to.
func Marshal(v any) ([]byte, error) {
	return encode(make([]byte, 0, 4096), reflect.Indirect(reflect.ValueOf(v)))
}

// Unmarshal decodes what Marshal wrote into the value that v points to. Every
// length is checked against what is left of data before anything is allocated
// for it (CVE-2021-43784 was an unchecked length in such a message), and data
// that is left over is an error.
func Unmarshal(data []byte, v any) error {
	d := decoder{data}
	if err := d.decode(reflect.ValueOf(v).Elem()); err != nil {
		return err
	}
	if len(d.rest) != 0 {
		return fmt.Errorf("decode %T: %d bytes too many", v, len(d.rest))
	}
	return nil
}

func encode(b []byte, v reflect.Value) ([]byte, error) {
	var err error
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(b, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return binary.AppendUvarint(b, v.Uint()), nil
	case reflect.String:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		return append(b, v.String()...), nil
	case reflect.Slice:
		if v.IsNil() {
			return append(b, 0), nil
		}
		b = binary.AppendUvarint(b, uint64(v.Len())+1)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(b, v.Bytes()...), nil
		}
		for i := range v.Len() {
			if b, err = encode(b, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	case reflect.Array:
		for i := range v.Len() {
			if b, err = encode(b, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0), nil
		}
		return encode(append(b, 1), v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				return nil, fmt.Errorf("encode %s: field %s is not exported", v.Type(), v.Type().Field(i).Name)
			}
			if b, err = encode(b, v.Field(i)); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("encode %s: not plain data", v.Type())
}

type decoder struct{ rest []byte }

var errShort = errors.New("decode: the data ends too early")

func (d *decoder) uvarint() (uint64, error) {
	u, n := binary.Uvarint(d.rest)
	if n <= 0 {
		return 0, errShort
	}
	d.rest = d.rest[n:]
	return u, nil
}

// bytes returns the next n bytes, which still belong to the data.
func (d *decoder) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(d.rest)) {
		return nil, errShort
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

func (d *decoder) decode(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		b, err := d.bytes(1)
		if err != nil {
			return err
		}
		v.SetBool(b[0] != 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, n := binary.Varint(d.rest)
		if n <= 0 {
			return errShort
		}
		d.rest = d.rest[n:]
		if v.OverflowInt(i) {
			return fmt.Errorf("decode %s: %d does not fit", v.Type(), i)
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		u, err := d.uvarint()
		if err != nil {
			return err
		}
		if v.OverflowUint(u) {
			return fmt.Errorf("decode %s: %d does not fit", v.Type(), u)
		}
		v.SetUint(u)
	case reflect.String:
		n, err := d.uvarint()
		if err != nil {
			return err
		}
		b, err := d.bytes(n)
		if err != nil {
			return err
		}
		v.SetString(string(b))
	case reflect.Slice:
		return d.slice(v)
	case reflect.Array:
		for i := range v.Len() {
			if err := d.decode(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		b, err := d.bytes(1)
		if err != nil || b[0] == 0 {
			return err
		}
		v.Set(reflect.New(v.Type().Elem()))
		return d.decode(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if err := d.decode(v.Field(i)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("decode %s: not plain data", v.Type())
	}
	return nil
}

func (d *decoder) slice(v reflect.Value) error {
	n, err := d.uvarint()
	if err != nil || n == 0 {
		return err
	}
	n--
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b, err := d.bytes(n)
		if err != nil {
			return err
		}
		v.SetBytes(append(make([]byte, 0, n), b...))
		return nil
	}
	// Every element takes a byte at least, but for empty structs, which no
	// message has.
	if n > uint64(len(d.rest)) {
		return errShort
	}
	v.Set(reflect.MakeSlice(v.Type(), int(n), int(n)))
	for i := range int(n) {
		if err := d.decode(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}
