package cli

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const statusText = `Name:	gourd
CapInh:	0000000000000000
CapPrm:	0000000020000420
CapEff:	0000000020000420
CapBnd:	00000000a80425fb
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`

const mountinfoText = `1 2 0:1 / / ro,relatime - ext4 /dev/vda rw
3 1 0:2 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
4 1 0:3 / /tmp rw - tmpfs tmpfs rw
5 1 0:4 /sub /a\040b\134c rw shared:7 master:1 - tmpfs tmpfs rw
6 4 0:5 / /tmp ro - tmpfs tmpfs rw
broken
`

func TestReport(t *testing.T) {
	v := view{
		PID: 1, UID: 0, GID: 0,
		Groups:     []int{5, 10},
		Hostname:   "hello",
		Kernel:     "Linux 6.18.0 x86_64",
		Cwd:        "/",
		Args:       []string{"/gourd", "hello"},
		Cgroup:     "/",
		Processes:  1,
		Interfaces: parseInterfaces("Inter-|   Receive\n face |bytes\n    lo:  0 0\n  eth0:  1 2\n"),
		UIDMap:     "0 100000 65536",
		Mounts:     parseMounts(mountinfoText),
		Status:     parseStatus(statusText),
		LastCap:    40,
		Namespaces: []namespace{{"cgroup", 4026532456}, {"ipc", 4026531839}, {"mnt", 4026532450}, {"net", 4026531833}, {"pid", 0}},
	}
	const want = `Hello from gourd. This is what a process sees in here:

  process      pid 1, the only process to be seen
  command      /gourd hello
  directory    /
  user         uid 0, gid 0, groups 5 10
  id map       65536 ids from 0 on are 100000 and up outside
  host name    hello
  kernel       Linux 6.18.0 x86_64
  cgroup       /
  network      lo eth0
  restrictions no new privileges, seccomp (1 filter)

Namespaces (5)
  cgroup       4026532456   its own
  ipc          4026531839   the host's
  mnt          4026532450
  net          4026531833   the host's
  pid          -            unknown

Capabilities (3)
  effective    kill net_bind_service audit_write
  bounding     chown dac_override fowner fsetid kill setgid setuid setpcap
               net_bind_service net_raw sys_chroot mknod audit_write setfcap
  ambient      none

Mounts (4)
  /       ext4   ro,relatime
  /proc   proc   rw,nosuid,nodev,noexec,relatime
  /tmp    tmpfs  ro
  /a b\c  tmpfs  rw
`
	var b bytes.Buffer
	if err := writeReport(&b, v, false); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := writeReport(&b, v, true); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("\x1b[1m", "", "\x1b[0m", "").Replace(b.String())
	if plain != want || strings.Count(b.String(), "\x1b[1m") != 4 {
		t.Errorf("in color:\n%q", b.String())
	}
}

// TestReportOfNothing: without /proc nothing is made up.
func TestReportOfNothing(t *testing.T) {
	var b bytes.Buffer
	v := view{PID: 1, Args: []string{"/gourd", "hello"}, LastCap: -1, Namespaces: []namespace{{"pid", 0}}}
	if err := writeReport(&b, v, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  process      pid 1\n", "  id map       unknown\n", "  cgroup       unknown\n", "  network      no interface to be seen\n",
		"  restrictions unknown\n", "Capabilities (0)\n  unknown\n", "Mounts (0)\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestReportCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    status
		last int
		want string
	}{
		{"all", status{OK: true, CapEff: 1<<41 - 1, CapBnd: 1<<41 - 1}, 40, "\nCapabilities (41)\n  effective    all 41\n  bounding     the same\n  ambient      none\n"},
		{"none", status{OK: true}, 40, "\nCapabilities (0)\n  effective    none\n  bounding     the same\n  ambient      none\n"},
		{"ambient", status{OK: true, CapEff: 1 << 5, CapBnd: 1 << 5, CapAmb: 1 << 5}, 40, "\nCapabilities (1)\n  effective    kill\n  bounding     the same\n  ambient      kill\n"},
		{"newer than this gourd", status{OK: true, CapEff: 1 << 63, CapBnd: 1 << 63}, 63, "\nCapabilities (1)\n  effective    number 63\n  bounding     the same\n  ambient      none\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r report
			r.capabilities(tt.s, tt.last)
			if r.b.String() != tt.want {
				t.Errorf("got\n%swant\n%s", r.b.String(), tt.want)
			}
		})
	}
}

func TestParseCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/\n":                         "/",
		"0::/a:b/c\n":                    "/a:b/c",
		"4:pids:/x\n1:name=s:/\n0::/y\n": "/y",
		"4:pids:/x\n":                    "",
		"":                               "",
	} {
		if got := parseCgroup(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/a`: "/a", `/a\040b`: "/a b", `\134`: `\`, `\`: `\`, `\04`: `\04`, `\999`: `\999`, `\012\011`: "\n\t"} {
		if got := unescape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestLookAround holds what hello reads against what the process knows otherwise.
func TestLookAround(t *testing.T) {
	v := lookAround()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if v.PID != os.Getpid() || v.UID != os.Getuid() || v.Hostname != host {
		t.Errorf("got pid %d, uid %d, host name %q", v.PID, v.UID, v.Hostname)
	}
	if v.Processes < 1 || !v.Status.OK || v.LastCap < 37 || v.UIDMap == "" {
		t.Errorf("got %d processes, status %+v, last capability %d, map %q", v.Processes, v.Status, v.LastCap, v.UIDMap)
	}
	if !slices.ContainsFunc(v.Mounts, func(m mount) bool { return m.Target == "/proc" && m.Type == "proc" }) {
		t.Errorf("/proc is not among the mounts: %v", v.Mounts)
	}
	for _, n := range v.Namespaces {
		link, err := os.Readlink("/proc/self/ns/" + n.Name)
		if err != nil {
			t.Fatal(err)
		}
		if want := n.Name + ":[" + strconv.FormatUint(n.Inode, 10) + "]"; link != want {
			t.Errorf("got %s, the link says %s", want, link)
		}
	}
}

func TestHelloPrints(t *testing.T) {
	r := try(nil, "hello")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "Hello from gourd.") || r.stderr != "" {
		t.Errorf("exit code %d, stderr %q, stdout\n%s", r.code, r.stderr, r.stdout)
	}
}
