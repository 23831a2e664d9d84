package plan

import (
	"errors"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

// defects builds a plan and returns the paths of its defects.
func defects(t *testing.T, o Options, change func(*specs.Spec)) map[string]string {
	t.Helper()
	b := bundle(t, change)
	b.Raw = []byte(`{"process": {"noNewPrivilege": true}}`)
	_, err := Build(b, rootFacts, o)
	out := map[string]string{}
	var bad *defect.Error
	if err != nil && !errors.As(err, &bad) {
		t.Fatal(err)
	}
	if bad != nil {
		for _, d := range bad.Defects {
			out[d.Path] = d.Problem
		}
	}
	return out
}

func TestStrict(t *testing.T) {
	strictly := testOptions
	strictly.Strict = true
	for _, tt := range []struct {
		name   string
		o      Options
		value  string // of the annotation; "-": none
		strict bool
	}{
		{"by nobody", testOptions, "-", false},
		{"by the flag", strictly, "-", true},
		{"by the annotation", testOptions, "true", true},
		{"the annotation says no", testOptions, "false", false},
		{"the annotation does not undo the flag", strictly, "false", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := defects(t, tt.o, func(s *specs.Spec) {
				s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_NO_SUCH")
				if tt.value != "-" {
					s.Annotations = map[string]string{AnnotationStrict: tt.value}
				}
			})
			want := 0
			if tt.strict {
				want = 2
			}
			// A property that is passed over, and what else would be a warning.
			if _, skipped := got["process.noNewPrivilege"]; len(got) != want || skipped != tt.strict {
				t.Errorf("%v", got)
			}
			if _, warned := got["process.capabilities"]; warned != tt.strict {
				t.Errorf("%v", got)
			}
		})
	}
	got := defects(t, testOptions, func(s *specs.Spec) { s.Annotations = map[string]string{AnnotationStrict: "on"} })
	if _, ok := got[`annotations["run.gourd.strict"]`]; !ok {
		t.Errorf("%v", got)
	}
}
