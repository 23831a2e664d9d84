package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a report, and where in the page the measured part stands.
const (
	reportJSON = "performance.json"
	reportPage = "performance.md"
	reportSVG  = "performance.svg"

	markBegin = "<!-- measured: make bench -->"
	markEnd   = "<!-- end of what was measured -->"
)

// report is what one run of the benchmark found.
type report struct {
	Date, Kernel, CPU, Commit string
	Runs                      int
	Competitors               []entrant // in the table's order; gourd is the first
	Rows                      []line
	Inits                     []string // gourd's package initialisations, the dearest first
}

// entrant is a competitor in the report.
type entrant struct{ Name, Version string }

// line is a row of the table.
type line struct {
	Key, Text, Unit string
	Median          map[string]float64 // by competitor
	Spread          map[string]float64 // half of the range between the quartiles
	Error           map[string]string
	Goals           map[string]float64 `json:",omitempty"`
}

func (b *bench) report(now time.Time) *report {
	r := &report{Date: now.UTC().Format("2006-01-02 15:04 UTC"), Kernel: kernel(), CPU: cpu(), Commit: commit(), Runs: b.o.runs}
	for _, c := range b.competitors {
		r.Competitors = append(r.Competitors, entrant{c.name, c.version})
		if c.name == "gourd" {
			r.Inits = inits(c.path)
		}
	}
	slices.SortStableFunc(r.Competitors, func(a, b entrant) int { return place(a.Name) - place(b.Name) })
	for i := range groups {
		for _, row := range groups[i].rows {
			l := line{Key: row.key, Text: row.text, Unit: row.unit, Goals: row.goals,
				Median: map[string]float64{}, Spread: map[string]float64{}, Error: map[string]string{}}
			for _, c := range b.competitors {
				k := key{row.key, c.name}
				if s := b.samples[k]; len(s) > 0 {
					l.Median[c.name], l.Spread[c.name] = statistics(s)
				} else if text, ok := b.errors[k]; ok {
					l.Error[c.name] = text
				}
			}
			if len(l.Median)+len(l.Error) > 0 {
				r.Rows = append(r.Rows, l)
			}
		}
	}
	return r
}

// place orders the columns.
func place(name string) int {
	if i := slices.Index([]string{"gourd", floorName, "crun", "runc", "youki"}, name); i >= 0 {
		return i
	}
	return 99
}

// statistics returns the median, and half the range between the quartiles.
func statistics(samples []float64) (median, spread float64) {
	s := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 {
		x := q * float64(len(s)-1)
		i := int(x)
		if i+1 == len(s) {
			return s[i]
		}
		return s[i] + (x-float64(i))*(s[i+1]-s[i])
	}
	return at(0.5), (at(0.75) - at(0.25)) / 2
}

// ratio is gourd's median to another's.
func (l *line) ratio(other string) (float64, bool) {
	own, ok := l.Median["gourd"]
	its, too := l.Median[other]
	return own / its, ok && too && its > 0
}

// others are the columns that gourd is compared with.
func (r *report) others() (names []string) {
	for _, c := range r.Competitors {
		if c.Name != "gourd" {
			names = append(names, c.Name)
		}
	}
	return names
}

// markdown is the measured part of the page.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s, Linux %s, %s; gourd at commit %s", r.Date, r.Kernel, r.CPU, r.Commit)
	for _, c := range r.Competitors {
		if c.Version != "" && c.Name != "gourd" {
			fmt.Fprintf(&b, ", %s %s", c.Name, c.Version)
		}
	}
	fmt.Fprintf(&b, ". Medians of %d interleaved runs, ± half of the range between the quartiles.\n\n", r.Runs)

	b.WriteString("| case | unit |")
	rule := "|---|---|"
	for _, c := range r.Competitors {
		fmt.Fprintf(&b, " %s |", c.Name)
		rule += "---:|"
	}
	for _, o := range r.others() {
		fmt.Fprintf(&b, " gourd / %s |", o)
		rule += "---:|"
	}
	b.WriteString("\n" + rule + "\n")
	var notes []string
	for i := range r.Rows {
		l := &r.Rows[i]
		fmt.Fprintf(&b, "| %s | %s |", l.Text, l.Unit)
		for _, c := range r.Competitors {
			m, ok := l.Median[c.Name]
			switch text, failed := l.Error[c.Name]; {
			case ok:
				fmt.Fprintf(&b, " %s ± %s |", number(m), number(l.Spread[c.Name]))
			case failed:
				notes = addNote(notes, c.Name+": "+text)
				fmt.Fprintf(&b, " cannot [%d] |", 1+slices.Index(notes, c.Name+": "+text))
			default:
				b.WriteString(" – |")
			}
		}
		for _, o := range r.others() {
			b.WriteString(" " + l.verdict(o) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\nA ratio below 1 is one where gourd is the faster, or the smaller. Where there is a goal it stands behind the ratio; a ratio that misses it is in bold.\n")
	for i, n := range notes {
		fmt.Fprintf(&b, "\n[%d] %s\n", i+1, strings.ReplaceAll(n, "|", "\\|"))
	}
	if len(r.Inits) > 0 {
		b.WriteString("\nWhat gourd's packages do before main (`GODEBUG=inittrace=1 gourd --version`), the dearest:\n\n```\n" +
			strings.Join(r.Inits, "\n") + "\n```\n")
	}
	return b.String()
}

func addNote(notes []string, n string) []string {
	if slices.Contains(notes, n) {
		return notes
	}
	return append(notes, n)
}

// verdict is the cell of a ratio, with the goal.
func (l *line) verdict(other string) string {
	q, ok := l.ratio(other)
	if !ok {
		return "–"
	}
	text := strconv.FormatFloat(q, 'f', 2, 64)
	goal, has := l.Goals[other]
	switch {
	case !has:
		return text
	case q > goal:
		text = "**" + text + "**"
	}
	return text + " (≤ " + strconv.FormatFloat(goal, 'g', -1, 64) + ")"
}

// number prints three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// changes tells which ratios differ by more than a tenth from those of an older
// report.
func (r *report) changes(old *report) (list []string) {
	if old == nil {
		return nil
	}
	for i := range r.Rows {
		l := &r.Rows[i]
		j := slices.IndexFunc(old.Rows, func(o line) bool { return o.Key == l.Key })
		if j < 0 {
			continue
		}
		for _, o := range r.others() {
			now, ok := l.ratio(o)
			was, had := old.Rows[j].ratio(o)
			if ok && had && (now > was*1.1 || now < was*0.9) {
				word := "better"
				if now > was {
					word = "WORSE"
				}
				list = append(list, fmt.Sprintf("  %-26s gourd / %-6s %.2f, was %.2f: %s", l.Text, o, now, was, word))
			}
		}
	}
	return list
}

func readReport(file string) (*report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(report)
	return r, json.Unmarshal(data, r)
}

// save writes the report into dir: the page's measured part, the picture, the
// numbers. A report of some cases leaves the older rows of the others out.
func (r *report) save(dir string) error {
	numbers, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, reportPage)
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := replaceMeasured(string(page), "![gourd beside other runtimes]("+reportSVG+")\n\n"+r.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return errors.Join(
		os.WriteFile(file, []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, reportSVG), []byte(r.svg()), 0o644),
		os.WriteFile(filepath.Join(dir, reportJSON), append(numbers, '\n'), 0o644),
	)
}

// replaceMeasured puts text between the page's marks.
func replaceMeasured(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, markBegin)
	_, after, also := strings.Cut(rest, markEnd)
	if !ok || !also {
		return "", fmt.Errorf("the lines %q and %q are not there", markBegin, markEnd)
	}
	return before + markBegin + "\n\n" + text + "\n" + markEnd + after, nil
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return fmt.Sprintf("%d × %s", runtime.NumCPU(), strings.TrimSpace(value))
		}
	}
	return fmt.Sprintf("%d × %s", runtime.NumCPU(), runtime.GOARCH)
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*").Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}

// inits returns the five dearest lines of Go's own account of what packages do
// before main.
func inits(path string) []string {
	cmd := exec.Command(path, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return nil
	}
	type initOf struct {
		line string
		ms   float64
	}
	var all []initOf
	for l := range strings.Lines(said.String()) {
		// init PACKAGE @0.1 ms, 0.02 ms clock, 123 bytes, 4 allocs
		f := strings.Fields(l)
		if len(f) < 6 || f[0] != "init" {
			continue
		}
		if took, err := strconv.ParseFloat(f[4], 64); err == nil {
			all = append(all, initOf{strings.TrimSpace(l), took})
		}
	}
	slices.SortStableFunc(all, func(a, b initOf) int {
		switch {
		case a.ms > b.ms:
			return -1
		case a.ms < b.ms:
			return 1
		}
		return 0
	})
	var lines []string
	for _, i := range all[:min(5, len(all))] {
		lines = append(lines, i.line)
	}
	return lines
}
