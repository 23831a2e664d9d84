package security

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// play is what this binary does as a program of an attack: of an image, of a
// hook, or of the host. It returns the exit code.
func play(role string, args []string) int {
	var err error
	switch role {
	case "say":
		fmt.Println(strings.Join(args, " "))
	case "wait":
		unix.Pause()
	case "status":
		err = playStatus()
	case "where":
		err = playWhere()
	case "fds":
		err = playFDs()
	case "swap":
		err = playSwap(args[0], args[1], args[2])
	case "replace":
		err = playReplace(args[0], args[1], args[2])
	case "look":
		err = playLook(args...)
	case "cover":
		err = playCover(args[0], args[1])
	case "escaped":
		err = playEscaped(args[0])
	case "seize":
		err = playSeize(args[0])
	case "seize-hook":
		err = playSeizeHook(args[0])
	case "peep":
		err = playPeep(args[0])
	case "peep-once":
		err = playPeepOnce(args...)
	case "mounts":
		err = playPrint("/proc/self/mountinfo")
	case "console":
		err = playConsole(args[0])
	case "domain":
		err = playDomain()
	case "env":
		fmt.Println(os.Getenv(args[0]))
	case "cgroups":
		err = playCgroups()
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "play %s: %v\n", role, err)
		return 1
	}
	return 0
}

// playStatus prints who the process is and what it may.
func playStatus() error {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		switch key, _, _ := strings.Cut(line, ":"); key {
		case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs":
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	return nil
}

// playWhere prints the working directory as the kernel sees it, and what can
// be seen of the host from there.
func playWhere() error {
	fmt.Println("ran")
	var buf [unix.PathMax]byte
	n, err := unix.Getcwd(buf[:])
	if err != nil {
		return err
	}
	fmt.Printf("cwd %s\n", bytes.TrimRight(buf[:n], "\x00"))
	for _, up := range []string{".", "..", climb} {
		if _, err := os.Lstat(up + victim); err == nil {
			fmt.Println("the host is at", up)
		}
	}
	return nil
}

// playFDs prints what is open, but for the directory that tells it.
func playFDs() error {
	fmt.Println("ran")
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(dir), "fds")
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		to, err := os.Readlink("/proc/self/fd/" + n)
		if err != nil || n == fmt.Sprint(dir) || strings.HasPrefix(to, "anon_inode:[event") {
			continue // Go's own poller
		}
		fmt.Println(n, to)
	}
	return nil
}

// maxSwaps bounds a swapping process. A container takes some thousand swaps.
const maxSwaps = 3_000_000

// playSwap exchanges two names until standard input ends, or maxSwaps. It
// prints how often, and leaves them as they were.
func playSwap(dir, a, b string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var stop atomic.Bool
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop.Store(true)
	}()
	n := 0
	for ; n < maxSwaps && (!stop.Load() || n%2 == 1); n++ {
		if err := unix.Renameat2(fd, a, fd, b, unix.RENAME_EXCHANGE); err != nil {
			if err == unix.EBUSY || err == unix.EINTR {
				n--
				if stop.Load() {
					break
				}
				continue // a mount of this namespace lies on it at the moment
			}
			return err
		}
	}
	fmt.Println(max(n, 0))
	return nil
}

// playReplace puts something else in the place of a file, as a process of
// another container with the same volume would at the worst moment: a symlink,
// a file with that text, or the device zero.
func playReplace(path, kind, what string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	switch kind {
	case "symlink":
		return os.Symlink(what, path)
	case "file":
		return os.WriteFile(path, []byte(what), 0o666)
	case "zero":
		return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
	}
	return fmt.Errorf("no kind %q", kind)
}

// playLook prints what each path is: its type, its size as read, the type of
// its filesystem, and whether it can be written.
func playLook(paths ...string) error {
	fmt.Println("ran")
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil {
			fmt.Printf("%s: %v\n", p, err)
			continue
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(p, &fs); err != nil {
			return err
		}
		fmt.Printf("%s: fs %#x", p, fs.Type)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			entries, err := os.ReadDir(p)
			if err != nil {
				return err
			}
			fmt.Printf(" dir %d", len(entries))
			if err := os.Mkdir(p+"/made", 0o755); err == nil {
				fmt.Print(" writable")
			}
		case unix.S_IFCHR:
			fmt.Printf(" char %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		default:
			data, _ := os.ReadFile(p)
			fmt.Printf(" file %q", data)
			if f, err := os.OpenFile(p, os.O_WRONLY, 0); err == nil {
				f.Close()
				fmt.Print(" writable")
			}
		}
		fmt.Println()
	}
	return nil
}

// hookPID reads the container's state, as hooks get it, for the pid of init.
func hookPID() (int, error) {
	var s specs.State
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return 0, err
	}
	return s.Pid, nil
}

// playCover is a hook that mounts source over target in the container's mount
// namespace: what a lost race would have done.
func playCover(source, target string) error {
	pid, err := hookPID()
	if err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", source, err)
	}
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount to %s: %w", target, err)
	}
	return nil
}

// playEscaped is a hook that fails if the container's mount namespace has a
// mount on dir or below: one that has missed the root filesystem.
func playEscaped(dir string) error {
	pid, err := hookPID()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if at := strings.Fields(line)[4]; at == dir || strings.HasPrefix(at, dir+"/") {
			return fmt.Errorf("escaped: %s", line)
		}
	}
	return nil
}

// playPrint prints a file.
func playPrint(path string) error {
	data, err := os.ReadFile(path)
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

// playDomain prints the NIS domain name as the kernel has it.
func playDomain() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	fmt.Println(unix.ByteSliceToString(u.Domainname[:]))
	return nil
}

// playConsole writes to a file what /dev/console is, and where terminals are
// mounted, and then waits.
func playConsole(out string) error {
	var st unix.Stat_t
	text := ""
	if err := unix.Stat("/dev/console", &st); err != nil {
		text = err.Error() + "\n"
	} else {
		var fs unix.Statfs_t
		if err := unix.Statfs("/dev/console", &fs); err != nil {
			return err
		}
		text = fmt.Sprintf("/dev/console: fs %#x char %d:%d\n", fs.Type, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, " - devpts ") {
			text += line
		}
	}
	if err := os.WriteFile(out+".new", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(out+".new", out); err != nil {
		return err
	}
	unix.Pause()
	return nil
}
