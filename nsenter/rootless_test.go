package nsenter

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const nobody = 65534

// TestOrdinaryUser makes all namespaces as a user without privileges, and
// joins them.
func TestOrdinaryUser(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "rootless") // the path of a test binary may not be nobody's to walk
	cmd.Args[0] = helperName
	cmd.Stderr = os.Stderr
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got rootlessSeen
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkNew(t, got.Made, allNamespaces)
	if s := got.Made; s.PID != 1 || s.UID != 0 || s.GID != 0 || s.Setgroups != "deny" {
		t.Errorf("pid %d, uid %d, gid %d, setgroups %s", s.PID, s.UID, s.GID, s.Setgroups)
	}
	checkNew(t, got.Joined, allNamespaces)
	for _, n := range nsFile {
		if got.Joined.NS[n.file] != got.Target[n.file] {
			t.Errorf("%s namespace: joined %s, but is in %s", n.file, got.Target[n.file], got.Joined.NS[n.file])
		}
	}
	if s := got.Joined; s.UID != 0 || s.Status["CapEff"] != s.Status["CapBnd"] {
		t.Errorf("after joining: uid %d, capabilities %s", s.UID, s.Status["CapEff"])
	}
}

type rootlessSeen struct {
	Made, Joined seen
	Target       map[string]string // the namespaces that were to be joined
}

// rootlessHelper is what an ordinary user does; it prints what its children
// saw.
func rootlessHelper() {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "rootless:", err)
			os.Exit(1)
		}
	}
	exe, err := os.Open("/proc/self/exe")
	must(err)
	maps := func(id int) []IDMap { return []IDMap{{0, uint32(id), 1}} }
	r := Request{
		New: allNamespaces, UIDMaps: maps(os.Getuid()), GIDMaps: maps(os.Getgid()), DenySetgroups: true,
		Offsets: []Offset{{"boottime", 5, 0}}, CgroupFD: -1, Exe: exe,
	}
	start := func(r Request, word string, stdin int) (*Child, *os.File) {
		out, in, err := os.Pipe()
		must(err)
		r.Args, r.Stdio = []string{helperName, word}, [3]int{stdin, int(in.Fd()), -1}
		c, err := Start(r)
		must(err)
		in.Close()
		return c, out
	}
	look := func(r Request) (s seen) {
		c, out := start(r, "look", -1)
		b, err := io.ReadAll(out)
		must(err)
		must(json.Unmarshal(b, &s))
		reap(c.PID)
		return s
	}
	made := look(r)

	stdin, hold, err := os.Pipe()
	must(err)
	c, out := start(r, "wait", int(stdin.Fd()))
	_, err = out.Read(make([]byte, 6))
	must(err)
	self, err := Self(true)
	must(err)
	targets := map[string]string{}
	join := Request{CgroupFD: -1, JoinMount: true, Exe: self}
	for _, n := range nsFile {
		path := "/proc/" + itoa(c.PID) + "/ns/" + n.file
		f, err := os.Open(path)
		must(err)
		defer f.Close()
		targets[n.file], err = os.Readlink(path)
		must(err)
		join.Join = append(join.Join, Join{n.flag, int(f.Fd()), path})
	}
	joined := look(join)
	hold.Close()
	reap(c.PID)
	must(json.NewEncoder(os.Stdout).Encode(rootlessSeen{made, joined, targets}))
}
