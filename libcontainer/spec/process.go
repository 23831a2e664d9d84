package spec

import (
	"fmt"
	"io"
	"os"
	"reflect"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// LoadProcess reads and decodes a process.json: what `exec --process` names,
// one object like config.json's process. It returns the bytes with it. Its
// errors are Load's, but that the file may be of any kind: shells and engines
// pass pipes.
func LoadProcess(path string) (*specs.Process, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxConfig {
		return nil, nil, fmt.Errorf("read %s: more than the %d bytes that a config may have", path, maxConfig)
	}
	p := new(specs.Process)
	if err := DecodeInto(raw, p); err != nil {
		return nil, nil, In(path, err)
	}
	return p, raw, nil
}

// In returns an error of a config, a *SyntaxError or a *defect.Error, as one of
// the file of this name; any other error as it is.
func In(file string, err error) error {
	switch e := err.(type) {
	case *SyntaxError:
		e.File = file
	case *defect.Error:
		e.File = file
	}
	return err
}

// DecodeInto decodes a JSON object into the struct that v points to, of which
// every exported field may be set, with Decode's rules and errors.
func DecodeInto(data []byte, v any) error {
	d := decoder{data: string(data)}
	if d.space(); d.peek() != '{' {
		return d.syntax("an object is expected")
	}
	if err := d.value(reflect.ValueOf(v).Elem()); err != nil {
		return err
	}
	if d.space(); d.pos < len(d.data) {
		return d.syntax("there is more after the end of the object")
	}
	return d.defects.Err()
}
