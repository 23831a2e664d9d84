package spec

import (
	"reflect"
	"strings"
)

// fields returns the fields of a struct type by their JSON names.
func (d *decoder) fields(t reflect.Type) []field {
	for i := range d.types {
		if d.types[i].t == t {
			return d.types[i].fields
		}
	}
	list := appendFields(make([]field, 0, t.NumField()), t, nil)
	d.types = append(d.types, structType{t, list})
	return list
}

func appendFields(list []field, t reflect.Type, outer []int) []field {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(outer[:len(outer):len(outer)], i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			list = appendFields(list, f.Type, index)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		platform := f.Tag.Get("platform")
		list = append(list, field{name, index, platform != "" && !hasLinux(platform)})
	}
	return list
}

// hasLinux returns whether a platform tag, a list with commas, names linux.
func hasLinux(platform string) bool {
	for p := range strings.SplitSeq(platform, ",") {
		if p == "linux" {
			return true
		}
	}
	return false
}

// find returns the field that a key means: the one of that name, else, as in
// encoding/json, the first whose name differs only in upper and lower case.
func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].name == key {
			return &fields[i]
		}
	}
	for i := range fields {
		if strings.EqualFold(fields[i].name, key) {
			return &fields[i]
		}
	}
	return nil
}
