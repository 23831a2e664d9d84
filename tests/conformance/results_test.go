package conformance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// results are what the result file has.
type results struct {
	runc string // its version
	rows map[string]row
}

// row is a line of the table. gourd and runc are a verdict; "passes or fails" is
// for a program whose outcome is a matter of chance, "fails without CAP_NAME"
// for one that passes where the tests have that capability.
type row struct{ gourd, runc, why string }

const (
	either  = "passes or fails"
	without = "fails without "
)

// refuses says what is wrong with the verdict, or "".
func (r row) refuses(of func(*row) *string, verdict string) string {
	want := *of(&r)
	if cap, ok := strings.CutPrefix(want, without); ok {
		want = fails
		if cap == "CAP_SYS_RESOURCE" && hasSysResource() {
			want = passes
		}
	}
	if want == "" {
		return "it is not in the result file"
	}
	if want != verdict && want != either {
		return fmt.Sprintf("it %s, and by %s it %s", verdict, filepath.Base(resultFile), want)
	}
	return ""
}

// hasSysResource is whether the tests may give CAP_SYS_RESOURCE.
func hasSysResource() bool {
	v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0)
	return err == nil && v == 1
}

const (
	heading = "# Conformance: runtime-tools\n"
	table   = "| program | gourd | runc %s | why |\n|---|---|---|---|\n"
)

const intro = `
The 58 validation programs of [runtime-tools](https://github.com/opencontainers/runtime-tools) v0.9.0, by which the Open
Container Initiative tests runtimes, run by ` + "`make test-conformance`" + ` with gourd and with Debian's runc in the same
run, in a pure cgroup v2 tree without controllers. gourd %s %d of them, runc %d.

The programs were written for version 1.0 of the runtime-spec and for cgroup v1. Where gourd fails, the last column says
why in the words of the runtime-spec v1.3.0, or what is wrong with the program, and the test holds that these words are in
it. The test fails when gourd's result is another than the one here.

`

// readResults reads the result file.
func readResults(file string) (results, error) {
	r := results{rows: map[string]row{}}
	data, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 4 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "program" {
			r.runc = strings.TrimPrefix(cells[2], "runc ")
			continue
		}
		r.rows[strings.Trim(cells[0], "`")] = row{cells[1], cells[2], cells[3]}
	}
	return r, nil
}

// keep takes over from old what is written by hand, as far as it still is so.
func (r *results) keep(old results) {
	for name, was := range old.rows {
		now, ran := r.rows[name]
		if !ran {
			r.rows[name] = was
			continue
		}
		now.why = was.why
		if was.refuses(func(r *row) *string { return &r.gourd }, now.gourd) == "" {
			now.gourd = was.gourd
		}
		if was.runc == either {
			now.runc = either
		}
		r.rows[name] = now
	}
}

func (r *results) write(file string) error {
	n, runc := 0, 0
	for _, row := range r.rows {
		if row.gourd == passes {
			n++
		}
		if row.runc == passes {
			runc++
		}
	}
	var b strings.Builder
	b.WriteString(heading)
	fmt.Fprintf(&b, intro, passes, n, runc)
	fmt.Fprintf(&b, table, r.runc)
	for _, name := range slices.Sorted(maps.Keys(r.rows)) {
		row := r.rows[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, row.gourd, row.runc, row.why)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
