package cli

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// A compatRow is a row of docs/compatibility.md.
type compatRow struct {
	verb                     string   // "" for the global flags
	flags                    []string // "--bundle", "-b"; none: the row is the command's own
	runc, crun, youki, gourd string
	remark                   string
}

func (r compatRow) String() string {
	return strings.TrimSpace(r.verb + " " + strings.Join(r.flags, ", "))
}

const compatFile = "../docs/compatibility.md"

// compatRows reads the table.
func compatRows(t *testing.T) []compatRow {
	t.Helper()
	data, err := os.ReadFile(compatFile)
	if err != nil {
		t.Fatal(err)
	}
	var rows []compatRow
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| command |") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 7 {
			t.Fatalf("not seven cells: %s", line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r := compatRow{verb: cells[0], runc: cells[2], crun: cells[3], youki: cells[4], gourd: cells[5], remark: cells[6]}
		if r.verb == "(global)" {
			r.verb = ""
		}
		for f := range strings.SplitSeq(cells[1], ",") {
			if f = strings.Trim(f, " `"); f != "" {
				r.flags = append(r.flags, f)
			}
		}
		rows = append(rows, r)
	}
	if len(rows) < 100 {
		t.Fatalf("only %d rows", len(rows))
	}
	return rows
}

// ownFlags returns the flags of a verb, or the global ones, each with its
// dashes, aliases included. ok is false if there is no such verb, or it is only
// known by name.
func ownFlags(verb string) (flags []string, ok bool) {
	var list []cli.Flag
	if verb == "" {
		list = append(globalFlags(), &cli.BoolFlag{Name: "version", Aliases: []string{"v"}}, &cli.BoolFlag{Name: "help", Aliases: []string{"h"}})
	} else {
		v := findVerb(verb)
		if v == nil || v.anyArgs && v.hidden { // later.go
			return nil, false
		}
		list = v.flagList()
	}
	for _, f := range list {
		for _, n := range f.Names() {
			flags = append(flags, strings.Repeat("-", min(len(n), 2))+n)
		}
	}
	return flags, true
}

// TestCompatibility holds the table against gourd itself.
func TestCompatibility(t *testing.T) {
	told := map[string]bool{}
	for _, r := range compatRows(t) {
		have, built := ownFlags(r.verb)
		for _, c := range []string{r.runc, r.crun, r.youki} {
			if c != "yes" && c != "–" && !strings.HasPrefix(c, "until ") {
				t.Errorf("%s: %q in a cell of others", r, c)
			}
		}
		if r.gourd != "yes" && r.remark == "" && built {
			t.Errorf("%s: it is not there, and nothing says why", r)
		}
		if r.runc == "yes" && r.gourd == "no" {
			t.Errorf("%s: runc has it, gourd has not", r)
		}
		names := r.flags
		if len(names) == 0 {
			names = []string{""}
		}
		for _, f := range names {
			key := r.verb + " " + f
			if told[key] {
				t.Errorf("%s is in the table twice", key)
			}
			told[key] = true
			is := built && (f == "" || slices.Contains(have, f))
			switch r.gourd {
			case "yes":
				if !is {
					t.Errorf("%s: %q is told to be there, and is not", r, f)
				}
			case "no", "not yet":
				if is {
					t.Errorf("%s: %q is told not to be there, and is", r, f)
				}
			default:
				t.Errorf("%s: %q is neither yes, no nor not yet", r, r.gourd)
			}
		}
	}
	for _, make := range append(verbTable(), func() *verb { return &verb{} }) {
		v := make()
		if v.name == completeVerbName {
			continue // the shells' own
		}
		flags, built := ownFlags(v.name)
		if built || v.name != "" {
			flags = append(flags, "")
		}
		for _, f := range flags {
			if f == "" && v.name == "" {
				continue
			}
			if key := v.name + " " + f; !told[key] {
				t.Errorf("%s is not in the table", key)
			}
		}
	}
}

// TestCompatibilityHelp holds the table against what the help prints: every
// flag there is in the table, and the other way round.
func TestCompatibilityHelp(t *testing.T) {
	for _, r := range compatRows(t) {
		if r.gourd != "yes" || len(r.flags) == 0 {
			continue
		}
		args := []string{"--help"}
		if r.verb != "" {
			args = []string{r.verb, "--help"}
		}
		help := try(nil, args...)
		if hidden(r.verb, r.flags[0]) {
			continue
		}
		for _, f := range r.flags {
			if !regexp.MustCompile(`(?m)^ +(-\w, +)?`+regexp.QuoteMeta(f)+`\b`).MatchString(help.stdout) && !strings.Contains(help.stdout, "  "+f+", ") {
				t.Errorf("gourd %s does not show %s", strings.Join(args, " "), f)
			}
		}
	}
}

// hidden is whether a flag of gourd's is not meant to be in the help.
func hidden(verb, flag string) bool {
	if verb == "" {
		return false
	}
	f := findFlag(findVerb(verb).flagList(), strings.TrimLeft(flag, "-"))
	_, _, shown := describeFlag(f)
	return !shown
}

// TestCompatibilityRunc holds the table against the runc that is installed:
// whatever its help shows is in the table, as runc's.
func TestCompatibilityRunc(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("runc is not installed")
	}
	rows := compatRows(t)
	known := func(verb, flag string) bool {
		return slices.ContainsFunc(rows, func(r compatRow) bool {
			return r.verb == verb && r.runc != "–" && (flag == "" && len(r.flags) == 0 || slices.Contains(r.flags, flag))
		})
	}
	help := func(args ...string) string {
		out, err := exec.Command(runc, append(args, "--help")...).Output()
		if err != nil {
			t.Fatalf("runc %s --help: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
	check := func(verb, text string) {
		for _, m := range regexp.MustCompile(`(?m)^ +(--[a-z0-9-]+)(?: value)?(?:, (-\w))?`).FindAllStringSubmatch(text, -1) {
			for _, flag := range m[1:] {
				if flag != "" && !known(verb, flag) && flag != "--help" && flag != "-h" {
					t.Errorf("runc %s %s is not in the table", verb, flag)
				}
			}
		}
	}
	overview := help()
	_, global, _ := strings.Cut(overview, "GLOBAL OPTIONS:")
	check("", global)
	_, commands, _ := strings.Cut(overview, "COMMANDS:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^ +([a-z]+)[, ]`).FindAllStringSubmatch(commands, -1) {
		n++
		if !known(m[1], "") {
			t.Errorf("runc %s is not in the table", m[1])
		}
		_, options, _ := strings.Cut(help(m[1]), "OPTIONS:")
		check(m[1], options)
	}
	if n < 15 {
		t.Error(fmt.Sprint("only ", n, " commands of runc were found"))
	}
}
