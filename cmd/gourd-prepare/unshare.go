// unshare.go: an ordinary user's layers have many owners, and mounting needs
// rights: both are to be had in a user namespace.

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare"
	"github.com/gourd-oci/gourd/prepare/store"
)

func unshareVerb() *verb {
	return &verb{
		name:     "unshare",
		summary:  "Run a command as root of the user namespace in which an ordinary user's containers are",
		operands: "[COMMAND…]",
		more: "Mounts that an ordinary user makes can be seen in there only, and end with it; so \"create\" and\n" +
			"\"mount\" are used in there. Without a command it is a shell.",
		example: "gourd prepare unshare sh -c 'gourd run -b \"$(gourd prepare img:latest web)\" web'",
		max:     -1, stop: true,
		run: func(c *call) error {
			args := c.args
			if len(args) == 0 {
				args = []string{os.Getenv("SHELL")}
				if args[0] == "" {
					args[0] = "/bin/sh"
				}
			}
			program, err := exec.LookPath(args[0])
			if err != nil {
				return err
			}
			return &os.PathError{Op: "execute", Path: program, Err: unix.Exec(program, args, os.Environ())}
		},
	}
}

// stageVar tells the child that enterUserNS starts what it is.
const stageVar = "GOURD_PREPARE_STAGE"

// rootsVar tells it the root directories of processes, as JSON. From inside of one
// user namespace those of another cannot be seen, even if both are one user's.
const rootsVar = "GOURD_PREPARE_ROOTS"

// outsideRoots reads what enterUserNS has left in the environment. In a shell
// that unshare has started it is of the past: who has ended meanwhile is known, who
// was started is not.
func outsideRoots() ([]prepare.Root, error) {
	s := os.Getenv(rootsVar)
	if s == "" {
		return nil, nil
	}
	var all []prepare.Root
	if err := json.Unmarshal([]byte(s), &all); err != nil {
		return nil, fmt.Errorf("%s: %w", rootsVar, err)
	}
	return all, nil
}

// mapsFD is where that child reads until its ids are mapped.
const mapsFD = 3

// enterUserNS runs this command line again as root of a new user namespace,
// with the ids that the user has been given (subuid(5)), and returns its exit
// code.
func enterUserNS(v *verb) (int, error) {
	switch v.name {
	case "create", "mount", "unmount", "export", "copy":
		return 0, fmt.Errorf("an ordinary user's mount can be seen only in a namespace of its own, and ends with it: use \"gourd prepare run\", or \"gourd prepare unshare\" and %s in there", v.name)
	}
	me, err := user.Current()
	if err != nil {
		return 0, err
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer tell.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	roots, err := prepare.Roots()
	if err != nil {
		return 0, err
	}
	// One process for each: an environment variable has room for two thousand.
	seen := map[store.File]bool{}
	roots = slices.DeleteFunc(roots, func(r prepare.Root) bool {
		was := seen[r.File]
		seen[r.File] = true
		return was
	})
	outside, err := json.Marshal(roots)
	if err != nil {
		return 0, err
	}
	cmd.Env = append(os.Environ(), stageVar+"=1", rootsVar+"="+string(outside))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		// It is not root before its ids are mapped, and so would lose what it
		// may do as soon as it is executed.
		AmbientCaps: []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP},
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make a user namespace: %w", err)
	}
	ready.Close()
	if err := mapIDs(cmd.Process.Pid, me); err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	if _, err := tell.Write([]byte{1}); err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended just now
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if code := exit.ExitCode(); code >= 0 {
			return code, nil
		}
		return 1, nil
	}
	return 0, err
}

func ignoreExit(error) error { return nil }

// becomeRoot is the child: it waits until its ids are mapped, becomes root and
// begins anew.
func becomeRoot() error {
	f := os.NewFile(mapsFD, "maps")
	var b [1]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return errors.New("the ids of the user namespace were not mapped")
	}
	f.Close()
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("become root of the user namespace: %w", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("become root of the user namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts to the namespace: %w", err)
	}
	os.Unsetenv(stageVar)
	return unix.Exec("/proc/self/exe", append([]string{"gourd-prepare"}, os.Args[1:]...), os.Environ())
}

// mapIDs maps root to the user, and from 1 on the ids that it has been given;
// without any, root alone.
func mapIDs(pid int, me *user.User) error {
	for _, m := range []struct{ helper, file, own string }{
		{"newgidmap", "/etc/subgid", me.Gid}, {"newuidmap", "/etc/subuid", me.Uid},
	} {
		start, count, err := subordinate(m.file, me)
		if err != nil {
			return err
		}
		program, lerr := exec.LookPath(m.helper)
		if count == 0 || lerr != nil {
			if err := mapOwn(pid, m.helper == "newgidmap", m.own); err != nil {
				return err
			}
			continue
		}
		out, err := exec.Command(program, strconv.Itoa(pid), "0", m.own, "1", "1", start, strconv.Itoa(count)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func mapOwn(pid int, group bool, own string) error {
	dir := "/proc/" + strconv.Itoa(pid)
	if group {
		if err := os.WriteFile(dir+"/setgroups", []byte("deny"), 0); err != nil {
			return fmt.Errorf("map the group: %w", err)
		}
		return os.WriteFile(dir+"/gid_map", []byte("0 "+own+" 1"), 0)
	}
	return os.WriteFile(dir+"/uid_map", []byte("0 "+own+" 1"), 0)
}

// subordinate finds the ids that a file gives the user, by name or id.
func subordinate(file string, me *user.User) (start string, count int, err error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		parts := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(parts) != 3 || parts[0] != me.Username && parts[0] != me.Uid {
			continue
		}
		n, err := strconv.Atoi(parts[2])
		if err != nil {
			return "", 0, fmt.Errorf("%s: %q is no number of ids", file, parts[2])
		}
		return parts[1], n, nil
	}
	return "", 0, nil
}
