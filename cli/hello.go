// hello.go: gourd hello, the program that `gourd spec --hello` puts into a
// bundle. It asks the kernel what it sees; hello_report.go prints it.

package cli

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func helloVerb() *verb {
	return &verb{
		name:    "hello",
		summary: "Print what a process sees of its container: ids, namespaces, mounts, capabilities, cgroup",
		more: "It is meant to be run inside of a container, but runs anywhere. What cannot be read, for instance\n" +
			"because /proc is not mounted, is said to be unknown.",
		example: "gourd hello",
		run: func(p *program, _ *cli.Context) error {
			return writeReport(p.stdout, lookAround(), isTerminal(p.stdout))
		},
	}
}

// view is what a process sees of its container. A part that could not be read
// is empty.
type view struct {
	PID, PPID  int
	UID, GID   int
	Groups     []int
	Hostname   string
	Kernel     string // "Linux 6.18.0 x86_64"
	Cwd        string
	Args       []string
	Cgroup     string // "/gourd/web"
	Processes  int    // numbered directories in /proc
	Interfaces []string
	Namespaces []namespace
	UIDMap     string // "0 0 4294967295"
	Mounts     []mount
	Status     status
	LastCap    int // -1: unknown
}

// namespace is one of the process's namespaces.
type namespace struct {
	Name  string
	Inode uint64 // 0: unknown
}

// mount is a line of mountinfo.
type mount struct {
	Target, Type, Options string
}

// status is what hello shows of /proc/self/status.
type status struct {
	OK           bool // the file was read
	CapEff       uint64
	CapBnd       uint64
	CapAmb       uint64
	NoNewPrivs   bool
	Seccomp      int // 0 off, 1 strict, 2 filter
	SeccompCount int
}

// lookAround reads everything, and leaves out what it cannot read.
func lookAround() view {
	v := view{
		PID: os.Getpid(), PPID: os.Getppid(),
		UID: os.Getuid(), GID: os.Getgid(),
		Args:       os.Args,
		LastCap:    -1,
		Processes:  countProcesses(),
		Interfaces: parseInterfaces(read("/proc/self/net/dev")),
	}
	v.Groups, _ = os.Getgroups()
	v.Hostname, _ = os.Hostname()
	v.Cwd, _ = os.Getwd()
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		v.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:]) + " " + unix.ByteSliceToString(uts.Machine[:])
	}
	v.Cgroup = parseCgroup(read("/proc/self/cgroup"))
	v.UIDMap = strings.Join(strings.Fields(read("/proc/self/uid_map")), " ")
	v.Mounts = parseMounts(read("/proc/self/mountinfo"))
	v.Status = parseStatus(read("/proc/self/status"))
	if n, err := strconv.Atoi(strings.TrimSpace(read("/proc/sys/kernel/cap_last_cap"))); err == nil {
		v.LastCap = n
	}
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		var st unix.Stat_t
		if unix.Stat("/proc/self/ns/"+name, &st) != nil {
			st.Ino = 0
		}
		v.Namespaces = append(v.Namespaces, namespace{name, st.Ino})
	}
	return v
}

// read returns a file's content, or "".
func read(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b)
}

// countProcesses returns how many processes /proc shows, 0 if there is none.
func countProcesses() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		if c := e.Name()[0]; '0' <= c && c <= '9' {
			n++
		}
	}
	return n
}

// parseInterfaces returns the names of the network interfaces from the text of
// /proc/self/net/dev (proc_pid_net(5)): two lines of heading, then "  lo: …".
func parseInterfaces(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// parseCgroup returns the path in the v2 hierarchy from the text of
// /proc/self/cgroup (cgroups(7): "0::/path").
func parseCgroup(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
}

// parseMounts reads a mountinfo (proc_pid_mountinfo(5)); a mount that another
// one has been put on top of, at the same place, is left out.
func parseMounts(text string) []mount {
	var ms []mount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		m := mount{Target: unescape(l[4]), Type: r[0], Options: l[5]}
		if i := slices.IndexFunc(ms, func(o mount) bool { return o.Target == m.Target }); i >= 0 {
			ms[i] = m
			continue
		}
		ms = append(ms, m)
	}
	return ms
}

// unescape undoes the octal escapes of mountinfo (\040 is a space).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseStatus reads the text of /proc/self/status (proc_pid_status(5)).
func parseStatus(text string) status {
	s := status{OK: text != ""}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "CapEff":
			s.CapEff, _ = strconv.ParseUint(value, 16, 64)
		case "CapBnd":
			s.CapBnd, _ = strconv.ParseUint(value, 16, 64)
		case "CapAmb":
			s.CapAmb, _ = strconv.ParseUint(value, 16, 64)
		case "NoNewPrivs":
			s.NoNewPrivs = value == "1"
		case "Seccomp":
			s.Seccomp, _ = strconv.Atoi(value)
		case "Seccomp_filters":
			s.SeccompCount, _ = strconv.Atoi(value)
		}
	}
	return s
}
