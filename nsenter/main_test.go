package nsenter

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/bornwith"
	"github.com/gourd-oci/gourd/internal/linux"
)

// TestMain is also what the tests execute in the namespaces: this binary,
// with helperName as its name and a word that says what to do.
func TestMain(m *testing.M) {
	if os.Args[0] == helperName {
		helper(os.Args[1:])
		unix.Exit(0) // not os.Exit: the race detector sleeps there for a second
	}
	before := openFiles()
	code := m.Run()
	if after := openFiles(); code == 0 && after != before {
		fmt.Fprintf(os.Stderr, "file descriptors leaked: before the tests\n%s\nafter them\n%s\n", before, after)
		code = 1
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil); code == 0 && err != unix.ECHILD {
		fmt.Fprintln(os.Stderr, "a child was left behind")
		code = 1
	}
	os.Exit(code)
}

const helperName = "nsenter-test-helper"

// seen is what a process sees of itself.
type seen struct {
	NS               map[string]string
	UID, GID, PID    int
	Groups           []int
	UIDMap, GIDMap   string
	Setgroups        string
	Offsets, Cgroup  string
	Status           map[string]string
	Nofile           [2]uint64
	Files            []string
	Exe, Environment string
}

func helper(args []string) {
	switch args[0] {
	case "look":
		if err := json.NewEncoder(os.Stdout).Encode(look()); err != nil {
			panic(err)
		}
	case "wait": // until the end of stdin
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "rootless":
		rootlessHelper()
	case "dumpable": // the stub's exit status tells, executed with or without effective capabilities
		var table Table
		dumpable := table.Cell()
		table.Call("ask", unix.SYS_PRCTL, Num(unix.PR_GET_DUMPABLE), Num(0), Num(0), Num(0), Num(0)).Save = dumpable
		table.Call("tell", unix.SYS_EXIT_GROUP, dumpable.Value())
		f, err := StubFile("dumpable", &table, 0)
		if err != nil {
			panic(err)
		}
		runtime.LockOSThread()
		caps, err := linux.ThreadCaps()
		if err == nil && args[1] == "without" {
			caps.Effective = 0
			err = linux.SetThreadCaps(caps)
		}
		if err == nil {
			err = linux.ExecFD(int(f.Fd()), []*byte{new(byte), nil})
		}
		panic(err)
	case "peek": // at what only a process with power over the other may see
		for _, name := range []string{"exe", "root", "ns/user", "fd/0"} {
			if got, err := os.Readlink("/proc/" + args[1] + "/" + name); err == nil {
				fmt.Fprintf(os.Stderr, "%s of %s is %s\n", name, args[1], got)
				os.Exit(1)
			}
		}
		if _, err := os.Open("/proc/" + args[1] + "/mem"); err == nil {
			fmt.Fprintln(os.Stderr, "its memory can be opened")
			os.Exit(1)
		}
	case "replaced": // by another file, at what /proc/self/exe says of a removed binary
		path, err := os.Executable()
		if err != nil || os.Remove(path) != nil || os.WriteFile(path+" (deleted)", []byte("another"), 0o755) != nil {
			panic(path)
		}
		if _, err := overlaySelf(); err == nil {
			panic("another file is taken for this binary")
		}
		f, err := Self(false)
		if err != nil {
			panic(err)
		}
		if st, err := f.Stat(); err != nil || st.Size() < 1000 {
			panic("Self returns another file")
		}
	case "block": // in BeforeUnshareCgroup, for ever
		r := Request{CgroupFD: -1, Args: args, Stdio: [3]int{-1, -1, -1}}
		r.Exe, _ = os.Open("/proc/self/exe")
		r.BeforeUnshareCgroup = func(pid int) error {
			fmt.Println(pid)
			select {}
		}
		_, err := Start(r)
		panic(err)
	}
}

func look() seen {
	s := seen{NS: map[string]string{}, Status: map[string]string{}, UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid()}
	s.Groups, _ = os.Getgroups()
	// By name: the directory of an undumpable process cannot be read.
	for _, n := range nsFile {
		s.NS[n.file], _ = os.Readlink("/proc/self/ns/" + n.file)
	}
	read := func(name string) string {
		b, _ := os.ReadFile("/proc/self/" + name)
		return strings.TrimSpace(string(b))
	}
	s.UIDMap, s.GIDMap, s.Setgroups = read("uid_map"), read("gid_map"), read("setgroups")
	s.Offsets, s.Cgroup = read("timens_offsets"), read("cgroup")
	for _, line := range strings.Split(read("status"), "\n") {
		if k, v, ok := strings.Cut(line, ":\t"); ok {
			s.Status[k] = strings.TrimSpace(v)
		}
	}
	s.Nofile[0], s.Nofile[1], _ = bornwith.Nofile()
	s.Files = strings.Fields(openFiles())
	s.Exe, _ = os.Readlink("/proc/self/exe")
	s.Environment = strings.Join(os.Environ(), ",")
	return s
}

// openFiles returns the numbers of the open file descriptors above 2, without
// the runtime's own (epoll, its eventfd, and the cgroup's cpu limit).
func openFiles() string {
	var list []string
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range d {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || len(e.Name()) == 1 && e.Name() < "3" || strings.HasPrefix(target, "anon_inode:[event") ||
			strings.HasPrefix(target, "/sys/fs/cgroup/") && strings.Contains(target, "/cpu.") ||
			strings.HasPrefix(target, "/proc/") && strings.HasSuffix(target, "/fd") {
			continue
		}
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}
