package features

import (
	"encoding/json"
	"testing"

	"github.com/gourd-oci/gourd/tests/schema"
)

// TestSchema holds the document against the JSON schema that comes with the
// runtime-spec module.
func TestSchema(t *testing.T) {
	s, err := schema.Open()
	if err != nil {
		t.Skip(err)
	}
	text, err := json.Marshal(Supported("1.2.3", "abc"))
	if err != nil {
		t.Fatal(err)
	}
	problems, err := s.Check("features-schema.json", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}
