package plan

import (
	"errors"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/landlock"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

// AnnotationLandlock holds, as JSON, the landlock.Rules for the container's
// process, and for every exec.
const AnnotationLandlock = ownAnnotations + "landlock"

// landlockFrom is the JSON path that asks for the rules; empty without any.
func landlockFrom(p *landlock.Plan) string {
	if p == nil {
		return ""
	}
	return annotationPath(AnnotationLandlock)
}

// compileLandlock returns nil where nothing is asked for. What the rules have
// that gourd does not know is always a defect: something would not be
// restricted, or not allowed.
func compileLandlock(annotations map[string]string, abi int, d *defect.List) *landlock.Plan {
	text, ok := annotations[AnnotationLandlock]
	if !ok {
		return nil
	}
	at := annotationPath(AnnotationLandlock)
	rules := new(landlock.Rules)
	err := spec.DecodeInto([]byte(text), rules)
	var syntax *spec.SyntaxError
	var wrong *defect.Error
	switch {
	case errors.As(err, &syntax):
		syntax.File = "its JSON"
		d.Add(at, "%v", syntax)
		return nil
	case errors.As(err, &wrong):
		for _, w := range wrong.Defects {
			d.Add(at+"."+w.Path, "%s", w.Problem)
		}
		return nil
	case err != nil:
		d.Add(at, "%v", err)
		return nil
	}
	var skipped defect.List
	spec.Skipped([]byte(text), new(landlock.Rules), at+".", &skipped)
	for _, s := range skipped {
		d.Add(s.Path, "%s", strings.TrimPrefix(s.Problem, "ignored: "))
	}
	return landlock.Compile(rules, abi, at, d)
}
