package plan

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

// strict.go: a config of which nothing is ignored (--strict).

// The annotations of a config.json that gourd itself reads.
const (
	// AnnotationStrict, "true", is --strict for this container, also when it
	// is updated and for every exec in it.
	AnnotationStrict = ownAnnotations + "strict"

	ownAnnotations = "run.gourd."
)

// annotationPath returns the JSON path of an annotation.
func annotationPath(key string) string { return "annotations[" + strconv.Quote(key) + "]" }

// strict is whether the annotations ask for --strict.
func strict(annotations map[string]string, d *defect.List) bool {
	text, ok := annotations[AnnotationStrict]
	switch {
	case !ok || text == "false":
		return false
	case text != "true":
		d.Add(annotationPath(AnnotationStrict), "%q is neither true nor false", text)
	}
	return true
}

// IsStrict is whether the annotations of a container that is there ask for
// --strict.
func IsStrict(annotations map[string]string) bool { return annotations[AnnotationStrict] == "true" }

// checkStrict adds a defect for every property of a config that is ignored, but
// for what the mechanisms themselves know of theirs.
func checkStrict(b *spec.Bundle, d *defect.List) {
	spec.Skipped(b.Raw, new(specs.Spec), "", d)
	spec.Unused(b.Spec, d)
	for _, key := range slices.Sorted(maps.Keys(b.Spec.Annotations)) {
		if strings.HasPrefix(key, ownAnnotations) && !slices.Contains(known(), key) {
			d.Add(annotationPath(key), "ignored: gourd knows no such annotation")
		}
	}
}

// known returns the annotations of gourd's own.
func known() []string { return []string{AnnotationLandlock, AnnotationStrict} }

// refuse turns warnings, "PATH: PROBLEM", into defects.
func refuse(warnings []string, d *defect.List) {
	for _, w := range warnings {
		path, problem, _ := strings.Cut(w, ": ")
		d.Add(path, "%s", problem)
	}
}
