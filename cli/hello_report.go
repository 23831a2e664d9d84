// hello_report.go: how gourd hello shows what it saw.

package cli

import (
	"fmt"
	"io"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
)

// writeReport writes v as a report for a person; color is for a terminal.
func writeReport(w io.Writer, v view, color bool) error {
	r := report{color: color}
	r.b.WriteString(r.bold("Hello from gourd.") + " This is what a process sees in here:\n\n")
	r.facts(&v)
	r.namespaces(v.Namespaces)
	r.capabilities(v.Status, v.LastCap)
	r.mounts(v.Mounts)
	_, err := io.WriteString(w, r.b.String())
	return err
}

// report is a report while it is written.
type report struct {
	b     strings.Builder
	color bool
}

func (r *report) bold(s string) string {
	if !r.color {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// title begins a section.
func (r *report) title(s string, n int) {
	fmt.Fprintf(&r.b, "\n%s (%d)\n", r.bold(s), n)
}

// fact writes a line with a name and a value.
func (r *report) fact(name, value string) {
	if value == "" {
		value = "unknown"
	}
	fmt.Fprintf(&r.b, "  %-12s %s\n", name, value)
}

func (r *report) facts(v *view) {
	process := "pid " + strconv.Itoa(v.PID)
	switch {
	case v.Processes == 1:
		process += ", the only process to be seen"
	case v.Processes > 1:
		process += ", one of " + strconv.Itoa(v.Processes) + " processes to be seen"
	}
	r.fact("process", process)
	r.fact("command", strings.Join(v.Args, " "))
	r.fact("directory", v.Cwd)

	ids := "uid " + strconv.Itoa(v.UID) + ", gid " + strconv.Itoa(v.GID)
	if len(v.Groups) > 0 {
		words := make([]string, len(v.Groups))
		for i, g := range v.Groups {
			words[i] = strconv.Itoa(g)
		}
		ids += ", groups " + strings.Join(words, " ")
	}
	r.fact("user", ids)
	r.fact("id map", idMap(v.UIDMap))
	r.fact("host name", v.Hostname)
	r.fact("kernel", v.Kernel)
	r.fact("cgroup", v.Cgroup)
	if len(v.Interfaces) > 0 {
		r.fact("network", strings.Join(v.Interfaces, " "))
	} else {
		r.fact("network", "no interface to be seen")
	}
	r.fact("restrictions", restrictions(v.Status))
}

// idMap tells a uid_map in words, if it has one line.
func idMap(m string) string {
	f := strings.Fields(m)
	switch {
	case m == "0 0 4294967295":
		return "none: ids are those of the host"
	case len(f) == 3:
		return f[2] + " ids from " + f[0] + " on are " + f[1] + " and up outside"
	}
	return m
}

// restrictions tells what the process may not do, or gain, any more.
func restrictions(s status) string {
	if !s.OK {
		return ""
	}
	var words []string
	if s.NoNewPrivs {
		words = append(words, "no new privileges")
	}
	switch {
	case s.Seccomp == 2 && s.SeccompCount == 1:
		words = append(words, "seccomp (1 filter)")
	case s.Seccomp == 2 && s.SeccompCount > 1:
		words = append(words, "seccomp ("+strconv.Itoa(s.SeccompCount)+" filters)")
	case s.Seccomp == 2:
		words = append(words, "seccomp")
	case s.Seccomp == 1:
		words = append(words, "seccomp, strict")
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// initialInode returns the inode number of the kernel's first namespace of a
// kind, 0 if it has no fixed one. Those of mnt and net are fixed since Linux
// 6.18, the others since 3.8 (linux/nsfs.h).
func initialInode(name string) (inode uint64, always bool) {
	switch name {
	case "ipc":
		return 0xEFFFFFFF, true
	case "uts":
		return 0xEFFFFFFE, true
	case "user":
		return 0xEFFFFFFD, true
	case "pid":
		return 0xEFFFFFFC, true
	case "cgroup":
		return 0xEFFFFFFB, true
	case "time":
		return 0xEFFFFFFA, true
	case "net":
		return 0xEFFFFFF9, false
	case "mnt":
		return 0xEFFFFFF8, false
	}
	return 0, false
}

// whose tells whether a namespace is the host's. For those whose number was not
// always fixed, only a match says something.
func whose(n namespace) string {
	inode, always := initialInode(n.Name)
	switch {
	case n.Inode == 0:
		return "unknown"
	case n.Inode == inode:
		return "the host's"
	case always:
		return "its own"
	}
	return ""
}

func (r *report) namespaces(ns []namespace) {
	r.title("Namespaces", len(ns))
	for _, n := range ns {
		inode := "-"
		if n.Inode != 0 {
			inode = strconv.FormatUint(n.Inode, 10)
		}
		line := fmt.Sprintf("  %-12s %-10s   %s", n.Name, inode, whose(n))
		r.b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (r *report) capabilities(s status, last int) {
	if !s.OK {
		r.title("Capabilities", 0)
		r.b.WriteString("  unknown\n")
		return
	}
	r.title("Capabilities", bits.OnesCount64(s.CapEff))
	r.set("effective", s.CapEff, last)
	if s.CapBnd != s.CapEff {
		r.set("bounding", s.CapBnd, last)
	} else {
		r.fact("bounding", "the same")
	}
	r.set("ambient", s.CapAmb, last)
}

// set writes the names in a set of capabilities, some to a line.
func (r *report) set(name string, set uint64, last int) {
	if set == 0 {
		r.fact(name, "none")
		return
	}
	if last >= 0 && last < 64 && set == 1<<(last+1)-1 {
		r.fact(name, "all "+strconv.Itoa(last+1))
		return
	}
	const width = 70
	names, line := credentials.CapabilityNames(), ""
	for bit := range 64 {
		if set&(1<<bit) == 0 {
			continue
		}
		word := "number " + strconv.Itoa(bit) // of a newer kernel
		if bit < len(names) {
			word = strings.ToLower(strings.TrimPrefix(names[bit], "CAP_"))
		}
		if len(line)+1+len(word) > width {
			r.fact(name, line)
			name, line = "", ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	r.fact(name, line)
}

func (r *report) mounts(ms []mount) {
	r.title("Mounts", len(ms))
	t := tabwriter.NewWriter(&r.b, 0, 0, 2, ' ', 0)
	for _, m := range ms {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Target, m.Type, m.Options)
	}
	t.Flush()
}

// isTerminal reports whether w is a terminal that may be written to in color
// (no-color.org).
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
