package resctrl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
)

func schemataAt(i int) string { return fmt.Sprintf("%s.schemata[%d]", at, i) }

// checkLine checks that a line is one, and of the form of all lines:
// RESOURCE:DOMAIN=VALUE;DOMAIN=VALUE.
func checkLine(text, from string, d *defect.List) Line {
	_, list, ok := parse(text)
	switch {
	case strings.Contains(text, "\n"):
		d.Add(from, "%q has a line break in it", text)
	case strings.Contains(text, "\x00"):
		d.Add(from, "%q has a NUL byte in it", text)
	case !ok || len(list) == 0:
		d.Add(from, "%q is not a line of a schemata file, such as L3:0=ff;1=f or MB:0=50", text)
	}
	return Line{text, from}
}

// domain is the value of a resource in one of its domains, a cache for
// instance.
type domain struct {
	id    int
	value string
}

// parse takes a line of a schemata file apart.
func parse(line string) (resource string, list []domain, ok bool) {
	resource, rest, ok := strings.Cut(line, ":")
	resource = strings.TrimSpace(resource)
	if !ok || resource == "" {
		return "", nil, false
	}
	for part := range strings.SplitSeq(strings.TrimSpace(rest), ";") {
		if part == "" {
			continue // the kernel takes one at the end
		}
		id, value, ok := strings.Cut(part, "=")
		n, err := strconv.Atoi(strings.TrimSpace(id))
		if !ok || err != nil || value == "" {
			return "", nil, false
		}
		list = append(list, domain{n, value})
	}
	return resource, list, true
}

// ofResource returns the line of a resource in the text of a schemata file, ""
// where there is none.
func ofResource(text, resource string) string {
	for line := range strings.Lines(text) {
		if name, _, ok := parse(line); ok && name == resource {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// compare returns what a group has instead of what a line asks for; "" if it is
// that. text is its schemata file. step is how the kernel rounds bandwidth up.
func compare(line, text string, step uint64) string {
	resource, want, ok := parse(line)
	have := ofResource(text, resource)
	if !ok || have == "" {
		return "none of " + resource
	}
	_, list, _ := parse(have)
	for _, w := range want {
		found := false
		for _, h := range list {
			found = found || h.id == w.id && same(resource, w.value, h.value, step)
		}
		if !found {
			return have
		}
	}
	return ""
}

// same is whether a value that is asked for is the one that the kernel tells:
// a bit mask, or for the resource MB a number that it has rounded.
func same(resource, want, have string, step uint64) bool {
	base := 16
	if resource == "MB" {
		base = 10
	}
	w, err1 := number(want, base)
	h, err2 := number(have, base)
	if err1 != nil || err2 != nil {
		return want == have
	}
	if resource == "MB" && step > 1 {
		w = (w + step - 1) / step * step
	}
	return w == h
}

func number(text string, base int) (uint64, error) {
	text = strings.TrimSpace(text)
	if base == 16 {
		text = strings.TrimPrefix(text, "0x")
	}
	return strconv.ParseUint(text, base, 64)
}
