package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// samples returns configs that engines wrote, and the ones gourd writes.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	m := make(map[string][]byte)
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %v, %d files", err, len(files))
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m[f] = b
	}
	for name, s := range map[string]*specs.Spec{"example": Example(false), "rootless": Example(true), "hello": Hello(false)} {
		b, err := json.MarshalIndent(s, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		m[name] = b
	}
	return m
}

func TestDecodeEqualsEncodingJSON(t *testing.T) {
	for name, raw := range samples(t) {
		got, err := Decode(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := new(specs.Spec)
		if err := json.Unmarshal(raw, want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, encoding/json has %+v", name, got, want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", ``, `line 1, column 1: the file ends where a value should be`},
		{"null", ` null`, `line 1, column 6: the config must be an object, not null`},
		{"array", `[]`, `config.json: an array where an object belongs (line 1, column 1)`},
		{"trailing", `{} x`, `line 1, column 4: there is more after the end of the config`},
		{"two values", "{}\n{}", `line 2, column 1: there is more after the end of the config`},
		{"cut off", `{"process": {"args": ["sh"`, `line 1, column 27 (in process.args): the file ends where a comma or ] should be`},
		{"trailing comma", `{"process": {"args": ["sh",]}}`, `line 1, column 28 (in process.args[1]): ']' where a value should be`},
		{"no key", `{process: 1}`, `line 1, column 2: 'p' where a key in quotes should be`},
		{"no colon", `{"process" 1}`, `'1' where a colon should be`},
		{"raw newline", "{\"hostname\": \"a\nb\"}", `line 1, column 16 (in hostname)`},
		{"bad escape", `{"hostname": "\x"}`, `'x' where an escape should be`},
		{"bad unicode", `{"hostname": "\u12g4"}`, `four hexadecimal digits`},
		{"leading zero", `{"process":{"user":{"uid":01}}}`, `'1' where a comma or } should be`},
		{"plus", `{"process":{"user":{"uid":+1}}}`, `(in process.user.uid): '+' where a value should be`},
		{"bare minus", `{"process":{"oomScoreAdj":-}}`, `'}' where a digit should be`},
		{"literal", `{"process":{"terminal":tru}}`, `'}' where 'e' of true should be`},
		{"columns count characters", `{"hostname": "ä", x}`, `line 1, column 19`},
		{"line", "{\n  \"linux\": {\n    \"namespaces\": 7\n  }\n}", `config.json: linux.namespaces: a number where an array belongs (line 3, column 19)`},
		{"element", `{"process": {"args": ["sh", 5]}}`, `process.args[1]: a number where a string belongs (line 1, column 29)`},
		{"object for string", `{"hostname": {"a": 1}}`, `hostname: an object where a string belongs`},
		{"string for bool", `{"root": {"readonly": "true"}}`, `root.readonly: a string where a boolean belongs`},
		{"fraction", `{"process": {"user": {"uid": 1.0}}}`, `process.user.uid: 1.0 where a whole number of 32 bits, from 0 on, belongs`},
		{"exponent", `{"process": {"oomScoreAdj": 1e2}}`, `process.oomScoreAdj: 1e2 where a whole number of 64 bits belongs`},
		{"negative uid", `{"process": {"user": {"uid": -1}}}`, `process.user.uid: -1 where`},
		{"uid too large", `{"process": {"user": {"uid": 4294967296}}}`, `process.user.uid: 4294967296 where`},
		{"map value", `{"annotations": {"a.b": 1}}`, `annotations["a.b"]: a number where a string belongs`},
		{"embedded", `{"linux":{"resources":{"blockIO":{"weightDevice":[{"major":"x"}]}}}}`, `linux.resources.blockIO.weightDevice[0].major: a string where a number belongs`},
		{"the path has the spec's spelling", `{"HOSTNAME": 1}`, `hostname: a number`},
		{"several", `{"hostname": 1, "process": {"cwd": []}}`, `hostname: a number where a string belongs (line 1, column 14); process.cwd: an array where`},
		{"deep", strings.Repeat(`{"x":`, maxDepth+1), `nest too deep`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Decode([]byte(tt.in))
			if err == nil {
				t.Fatalf("no error, but %+v", s)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %s\nwant …%s…", err, tt.want)
			}
		})
	}
}

func TestDecodeStopsAfterManyTypeErrors(t *testing.T) {
	_, err := Decode([]byte(`{"process":{"args":[` + strings.Repeat("1,", 1000) + `1]}}`))
	var de *defect.Error
	if !errors.As(err, &de) || len(de.Defects) != maxTypeErrors {
		t.Fatalf("got %v", err)
	}
}

func TestDecodeIgnores(t *testing.T) {
	in := `{"ociVersion": "1.3.0", "unknown": {"a": [1, {"b": null}]}, "windows": 5, "solaris": [], "vm": true, "zos": 0, "freebsd": 1,
		"process": {"cwd": "/", "commandLine": 7, "user": {"uid": 1, "username": 8}}}`
	got, err := Decode([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	want := &specs.Spec{Version: "1.3.0", Process: &specs.Process{Cwd: "/", User: specs.User{UID: 1}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeDuplicateKeys(t *testing.T) {
	got, err := Decode([]byte(`{"hostname":"a","hostname":"b","process":{"cwd":"/a","args":["x","y"]},"process":{"args":["z"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Hostname != "b" || got.Process.Cwd != "/a" || !reflect.DeepEqual(got.Process.Args, []string{"z"}) {
		t.Errorf("got %+v %+v", got, got.Process)
	}
}

// The decoder knows the kinds that runtime-spec uses, and no others: a new
// version of the spec must not bring in one that is silently mistaken.
func TestDecoderKnowsEveryKind(t *testing.T) {
	seen := make(map[reflect.Type]bool)
	unmarshaler := reflect.TypeFor[json.Unmarshaler]()
	var walk func(path string, ty reflect.Type)
	walk = func(path string, ty reflect.Type) {
		if seen[ty] {
			return
		}
		seen[ty] = true
		if reflect.PointerTo(ty).Implements(unmarshaler) {
			t.Errorf("%s: %s decodes itself", path, ty)
		}
		switch ty.Kind() {
		case reflect.Struct:
			for i := range ty.NumField() {
				f := ty.Field(i)
				if p := f.Tag.Get("platform"); p != "" && !hasLinux(p) {
					continue
				}
				if strings.Contains(f.Tag.Get("json"), ",string") {
					t.Errorf("%s.%s: the option \"string\" is not known", path, f.Name)
				}
				walk(path+"."+f.Name, f.Type)
			}
		case reflect.Map:
			if ty.Key().Kind() != reflect.String {
				t.Errorf("%s: a map with keys of %s", path, ty.Key())
			}
			walk(path, ty.Elem())
		case reflect.Slice:
			if ty.Elem().Kind() == reflect.Uint8 {
				t.Errorf("%s: bytes, which JSON has as base64", path)
			}
			walk(path, ty.Elem())
		case reflect.Pointer:
			walk(path, ty.Elem())
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		default:
			t.Errorf("%s: kind %s", path, ty.Kind())
		}
	}
	walk("Spec", reflect.TypeFor[specs.Spec]())
}

// FuzzDecode holds the decoder to encoding/json: both take the same inputs and
// get the same values, except where the decoder differs on purpose.
func FuzzDecode(f *testing.F) {
	for _, raw := range samples(f) {
		var small bytes.Buffer
		if err := json.Compact(&small, raw); err != nil {
			f.Fatal(err)
		}
		f.Add(small.Bytes())
	}
	for _, s := range []string{
		`{"hostname":"\ud83d\ude00\ud800\u0041\n\/"}`, "{\"hostname\":\"\xff\xfe\xc3\xa4\"}", `{"process":{"user":{"uid":4294967295,"umask":null}}}`,
		`{"linux":{"resources":{"memory":{"limit":-1},"unified":{"a":"b"}},"timeOffsets":{"boottime":{"secs":-5}}}}`,
		`{"annotations":{"":""},"mounts":[null,{}],"HostName":"x","hooks":{"poststop":[{"path":"/x","timeout":5}]}}`, `[1]`, `{"a":1e999}`, `{"a":-0.5E+3}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Decode(data)
		var syntax *SyntaxError
		var wrong *defect.Error
		if err != nil && !errors.As(err, &syntax) && !errors.As(err, &wrong) {
			t.Fatalf("an error of type %T: %v", err, err)
		}
		if valid := json.Valid(data); valid == (syntax != nil) && !bytes.Equal(bytes.TrimSpace(data), []byte("null")) && len(allDefects(wrong)) < maxTypeErrors {
			t.Fatalf("encoding/json says valid is %v, Decode says %v", valid, err)
		}
		if err != nil || hasDuplicates(data) {
			return
		}
		want := new(specs.Spec)
		if err := json.Unmarshal(data, want); err != nil {
			var te *json.UnmarshalTypeError
			if !errors.As(err, &te) || !isForeign(te.Field) {
				t.Fatalf("Decode takes it, encoding/json says %v", err)
			}
			return
		}
		want.Solaris, want.Windows, want.VM, want.ZOS, want.FreeBSD = nil, nil, nil, nil, nil
		if want.Process != nil {
			want.Process.CommandLine, want.Process.User.Username = "", ""
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nencoding/json has %+v", got, want)
		}
	})
}

// isForeign returns whether a field, as encoding/json tells it, is one that the
// decoder skips.
func isForeign(path string) bool {
	first, _, _ := strings.Cut(path, ".")
	switch first {
	case "solaris", "windows", "vm", "zos", "freebsd":
		return true
	}
	return path == "process.commandLine" || path == "process.user.username"
}

func allDefects(e *defect.Error) defect.List {
	if e == nil {
		return nil
	}
	return e.Defects
}

// hasDuplicates returns whether an object in valid JSON has two keys that may
// mean the same field.
func hasDuplicates(data []byte) bool {
	type level struct {
		object, isKey bool
		keys          []string
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if err != nil {
			return false
		}
		if top := len(stack) - 1; top >= 0 && stack[top].object {
			if key, ok := tok.(string); ok && stack[top].isKey {
				for _, k := range stack[top].keys {
					if strings.EqualFold(k, key) {
						return true
					}
				}
				stack[top].keys = append(stack[top].keys, key)
				stack[top].isKey = false
				continue
			}
			stack[top].isKey = true
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{object: true, isKey: true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := samples(b)["testdata/docker-20.10-run-sleep.json"]
	b.Run("gourd", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := Decode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if err := json.Unmarshal(raw, new(specs.Spec)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
