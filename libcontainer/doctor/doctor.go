// Package doctor looks at what of the kernel and the host gourd needs or can
// use, and tells for each what it found, what that means and what to do about
// it. It tries things out: namespaces are made, filesystems opened, programs
// loaded; nothing of it stays, and no version number is compared.
package doctor

import (
	"os"
	"strings"
)

// Status is what there is of a thing.
type Status string

// The statuses.
const (
	There      Status = "there"      // as gourd wants it
	Restricted Status = "restricted" // there in part, or not for this user
	Missing    Status = "missing"
)

// Line is one thing that was looked at.
type Line struct {
	Area   string `json:"area"`
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`        // what was seen
	Means  string `json:"means"`        // what it is for, or what does not go without it
	Do     string `json:"do,omitempty"` // what to do where it is not there
	// Needed says that without it no container runs.
	Needed bool `json:"needed"`
}

// Program is what is executed in namespaces that are made to see whether they
// can be: an ELF file that needs nothing and ends at once. Without an Exe none is
// tried.
type Program struct {
	Exe  *os.File
	Args []string
}

// Examine looks at everything.
func Examine(p Program) []Line {
	var r report
	r.kernel()
	r.procfs()
	r.cgroups()
	if p.Exe != nil {
		r.namespaces(p)
	}
	r.users()
	r.security()
	r.filesystems()
	r.tools()
	return r.lines
}

// report grows by what is looked at.
type report struct {
	area  string
	lines []Line
}

// there, restricted and missing add a line.
func (r *report) there(name, found, means string) {
	r.lines = append(r.lines, Line{Area: r.area, Name: name, Status: There, Found: found, Means: means})
}

func (r *report) restricted(name, found, means, do string) {
	r.lines = append(r.lines, Line{Area: r.area, Name: name, Status: Restricted, Found: found, Means: means, Do: do})
}

func (r *report) missing(name, found, means, do string) {
	r.lines = append(r.lines, Line{Area: r.area, Name: name, Status: Missing, Found: found, Means: means, Do: do})
}

// needed says of the last line that no container runs without the thing.
func (r *report) needed() { r.lines[len(r.lines)-1].Needed = true }

// word returns the content of a small file of the kernel's, "" where there is
// none.
func word(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
