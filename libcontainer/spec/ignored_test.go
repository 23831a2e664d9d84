package spec

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

func TestSkipped(t *testing.T) {
	for _, tt := range []struct {
		name, json string
		want       []string
	}{
		{"nothing", `{"ociVersion": "1.3.0", "process": {"args": ["sh"]}, "annotations": {"any": "x"}}`, nil},
		{"a whole section, once", `{"new": {"a": {"b": 1}}}`, []string{"new"}},
		{"in lists and maps", `{"mounts": [{}, {"option": ["ro"]}], "linux": {"timeOffsets": {"boottime": {"sec": 1}}}}`, []string{"mounts[1].option", "linux.timeOffsets.boottime.sec"}},
		{"a name that has to be quoted", `{"process": {"a.b": 1}}`, []string{`process["a.b"]`}},
		{"other platforms", `{"solaris": {}, "windows": {}, "vm": {}, "zos": {}, "freebsd": {}, "process": {"commandLine": "x", "user": {"username": "x"}}}`,
			[]string{"solaris", "windows", "vm", "zos", "freebsd", "process.commandLine", "process.user.username"}},
		{"twice, also in another case", `{"hostname": "a", "HostName": "b"}`, []string{"hostname"}},
		{"a key of a map twice", `{"annotations": {"a": "1", "a": "2"}}`, []string{"annotations.a"}},
		{"the same in two objects", `{"mounts": [{"type": "a"}, {"type": "b"}]}`, nil},
		{"null", `{"process": null}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			Skipped([]byte(tt.json), new(specs.Spec), "", &d)
			var got []string
			for _, d := range d {
				got = append(got, d.Path)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSkippedIsBounded: a config of many keys does not make as many defects.
func TestSkippedIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 10 * maxIgnored {
		fmt.Fprintf(&b, `%q: 1, `, fmt.Sprint("new", i))
	}
	var d defect.List
	Skipped([]byte(`{`+b.String()+`"hostname": "a"}`), new(specs.Spec), "process.", &d)
	if len(d) != maxIgnored || d[0].Path != "process.new0" {
		t.Errorf("%d defects, the first %v", len(d), d[0])
	}
}
