// json.go: the documents on stdout.

package cli

import (
	"encoding/json"
	"fmt"
	"io"
)

// writeJSON writes v and a newline, indented by indent unless that is empty.
// Characters such as < stay as they are: nobody puts this into a web page.
func writeJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
