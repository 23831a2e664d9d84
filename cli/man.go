// man.go: the manual pages, from the same definitions as the help.

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

// manSection is where the manual keeps commands of the system's administration.
const manSection = "8"

// writeManPages writes gourd.8 and a page for each command of the help into dir,
// which is made.
func writeManPages(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pages := map[string]string{"gourd": manPage()}
	for _, make := range verbTable() {
		if v := make(); !v.hidden {
			pages["gourd-"+v.name] = verbManPage(v)
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name+"."+manSection), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A page is written in the macros of man(7).
type page struct {
	strings.Builder
	begun bool // the section has text
}

func newPage(name, summary string) *page {
	p := new(page)
	fmt.Fprintf(p, ".TH %s %s \"\" \"gourd %s\" \"gourd's manual\"\n", roffWord(strings.ToUpper(name)), manSection, roff(Version))
	fmt.Fprintf(p, ".SH NAME\n%s \\- %s\n", roff(name), roff(lowerFirst(summary)))
	return p
}

func (p *page) section(title string) {
	fmt.Fprintf(p, ".SH %s\n", title)
	p.begun = false
}

// paragraph begins a new one.
func (p *page) paragraph() {
	if p.begun {
		p.WriteString(".PP\n")
	}
	p.begun = true
}

// text writes a part of a paragraph.
func (p *page) text(s string) { p.WriteString(roff(s) + "\n") }

// verbatim writes lines that are not to be filled.
func (p *page) verbatim(s string) {
	p.paragraph()
	fmt.Fprintf(p, ".RS 4\n.nf\n%s\n.fi\n.RE\n", roff(s))
}

// term writes an entry of a list: bold, and what it is.
func (p *page) term(name, what string) {
	fmt.Fprintf(p, ".TP\n.B %s\n%s\n", roffWord(name), roff(what))
}

func (p *page) flags(flags []cli.Flag) {
	for _, f := range flags {
		if names, usage, ok := describeFlag(f); ok {
			p.term(strings.TrimSpace(names), usage)
		}
	}
	p.term("-h, --help", "show the help")
}

// manPage is gourd's own page.
func manPage() string {
	p := newPage("gourd", "run containers from OCI bundles")
	p.section("SYNOPSIS")
	p.text("gourd [GLOBAL OPTIONS] COMMAND [OPTIONS] [OPERANDS]")
	p.section("DESCRIPTION")
	p.paragraph()
	p.text("gourd is a low-level container runtime, for engines and people: it creates, starts, queries, signals and deletes" +
		" containers from bundles, as the runtime-spec of the Open Container Initiative defines. A bundle is a directory with a" +
		" config.json and a root filesystem.")
	p.paragraph()
	p.text("Global options may also stand after the command. One dash or two are the same.")
	p.section("COMMANDS")
	for _, make := range verbTable() {
		if v := make(); !v.hidden {
			fmt.Fprintf(p, ".TP\n.BR %s (%s)\n%s\n", roffWord("gourd-"+v.name), manSection, roff(v.summary+"."))
		}
	}
	p.section("GLOBAL OPTIONS")
	p.flags(globalFlags())
	p.term("-v, --version", "print the version")
	p.section("EXIT STATUS")
	p.text("0 for success, 1 for an error, 3 for an unknown command. run and exec exit with the code of what they ran, or 128 and" +
		" the number of the signal that ended it; exec with 255 when it could not be run.")
	p.section("FILES")
	p.term(defaultRoot, "the state of root's containers")
	p.term("$XDG_RUNTIME_DIR/gourd", "that of an ordinary user's")
	p.section("EXAMPLES")
	p.paragraph()
	p.text("A first container, with no image to download:")
	p.verbatim("gourd spec --hello --bundle /tmp/hello\ngourd run --bundle /tmp/hello hello")
	return p.String()
}

// verbManPage is the page of a command.
func verbManPage(v *verb) string {
	p := newPage("gourd-"+v.name, v.summary)
	p.section("SYNOPSIS")
	p.text(v.usage())
	p.section("DESCRIPTION")
	p.paragraph()
	p.text(v.summary + ".")
	if v.more != "" {
		p.paragraph()
		p.more(v.more)
	}
	p.section("OPTIONS")
	p.flags(v.flagList())
	p.section("EXAMPLES")
	p.verbatim(v.example)
	p.section("SEE ALSO")
	fmt.Fprintf(p, ".BR gourd (%s)\n", manSection)
	return p.String()
}

// more writes the paragraphs of a help: lines that are indented stay lines.
func (p *page) more(s string) {
	var table []string
	flush := func() {
		if len(table) > 0 {
			p.verbatim(strings.Join(table, "\n"))
			table = nil
		}
	}
	for line := range strings.SplitSeq(s, "\n") {
		switch {
		case line == "":
			flush()
			p.paragraph()
		case strings.HasPrefix(line, "  "):
			table = append(table, line[2:])
		default:
			flush()
			p.text(line)
		}
	}
	flush()
}

// roff protects text from being read as something else (groff_char(7)): a
// backslash, a dash that is typed, and a dot or quote that begins a line.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\(ga", "^", `\(ha`, "~", `\(ti`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// roffWord is roff for the argument of a macro.
func roffWord(s string) string {
	return `"` + strings.ReplaceAll(roff(s), `"`, `\(dq`) + `"`
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
