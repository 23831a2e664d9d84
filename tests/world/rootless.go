package world

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// rootless.go: what the way Rootless has in the place of root's. The world is
// still made by root, who leaves nothing in it that an ordinary user lacks: it
// only hides the rest of the machine.

// runtimeDir is the ordinary user's XDG_RUNTIME_DIR.
var runtimeDir = fmt.Sprintf("/run/user/%d", UserID)

// delegated returns the cgroup, from the tree's root, that is given to the
// ordinary user and holds the worlds. It lives as long as this process.
var delegated = sync.OnceValues(func() (string, error) {
	if _, err := os.Stat("/run/systemd/system"); err == nil && UserName() != "" {
		return askManager()
	}
	return giveCgroup()
})

// keeper is what the user's manager runs in a cgroup that it delegates. It makes
// room for the worlds, as a delegate must: no process may stay beside children
// that have controllers. It ends with the test, whose end of its input that is.
const keeper = `set -eu
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir "/sys/fs/cgroup$own/keeper"
echo 0 >"/sys/fs/cgroup$own/keeper/cgroup.procs"
echo "$own"
exec cat`

// endKeeper ends the keeper; nil if there is none.
var endKeeper func() error

// askManager has the ordinary user's own systemd delegate a cgroup.
func askManager() (string, error) {
	if out, err := exec.Command("systemctl", "start", fmt.Sprintf("user@%d.service", UserID)).CombinedOutput(); err != nil {
		return "", fmt.Errorf("start the user's systemd: %w: %s", err, out)
	}
	cmd := exec.Command("systemd-run", "--user", "--quiet", "--pipe", "--wait", "--collect",
		"--property=Delegate=yes", "sh", "-c", keeper)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+runtimeDir, "DBUS_SESSION_BUS_ADDRESS=unix:path="+runtimeDir+"/bus")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: UserID, Gid: UserID}}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	answer, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	endKeeper = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	line, err := bufio.NewReader(answer).ReadString('\n')
	if err != nil {
		err = errors.Join(err, endKeeper())
		endKeeper = nil
		return "", fmt.Errorf("a cgroup of the user's systemd: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// giveCgroup makes a cgroup and gives it to the ordinary user, as a systemd
// would.
func giveCgroup() (string, error) {
	t, err := openTree()
	if err != nil {
		return "", err
	}
	defer t.Close()
	name := fmt.Sprintf(userPrefix+"%d", os.Getpid())
	dir, err := t.make(name)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	for _, f := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
		if err := os.Chown(filepath.Join(t.path(name), f), UserID, UserID); err != nil {
			return "", err
		}
	}
	given = name
	return "/" + name, nil
}

// given is the cgroup that giveCgroup made; "" for none.
var given string

// takeBack ends what askManager began, or removes what giveCgroup made.
func takeBack() error {
	if endKeeper != nil {
		return endKeeper()
	}
	if given == "" {
		return nil
	}
	t, err := openTree()
	if err != nil {
		return err
	}
	defer t.Close()
	return t.remove(given)
}

// asUser runs f with the ordinary user's rights to files.
func asUser(f func() error) error {
	runtime.LockOSThread()
	// The thread is not used again where the way back fails.
	if err := errors.Join(unix.Setfsgid(UserID), unix.Setfsuid(UserID)); err != nil {
		return fmt.Errorf("setfsuid %d: %w", UserID, err)
	}
	err := f()
	if back := errors.Join(unix.Setfsuid(0), unix.Setfsgid(0)); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// furnishUser gives the world what a session of the ordinary user has: the
// runtime directory and, where the machine has no such user, a name and ids.
func furnishUser() error {
	if err := os.MkdirAll(filepath.Dir(runtimeDir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(runtimeDir, 0o700); err != nil {
		return err
	}
	for _, dir := range []string{runtimeDir, Scratch} {
		if err := os.Chown(dir, UserID, UserID); err != nil {
			return err
		}
	}
	if _, err := userMap("/etc/subuid"); err == nil {
		if _, err := userMap("/etc/subgid"); err == nil {
			return nil
		}
	}
	name := UserName()
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	if name == "" {
		name = "tester"
		passwd = fmt.Appendf(passwd, "%s:x:%d:%[2]d::/:/bin/sh\n", name, UserID)
	}
	if err := os.Mkdir("/run/etc", 0o755); err != nil {
		return err
	}
	ids := []byte(name + ":500000:65536\n")
	for file, text := range map[string][]byte{"passwd": passwd, "subuid": ids, "subgid": ids} {
		ours, theirs := "/run/etc/"+file, "/etc/"+file
		if err := os.WriteFile(ours, text, 0o644); err != nil {
			return err
		}
		if err := unix.Mount(ours, theirs, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", theirs, err)
		}
	}
	return nil
}

// becomeUser makes this process, and so the inside, the ordinary user's. The
// program is executed again: only that leaves nothing of root's behind.
func becomeUser() error {
	if err := os.Setenv("XDG_RUNTIME_DIR", runtimeDir); err != nil {
		return err
	}
	if err := os.Setenv(stageVar, stageUser); err != nil {
		return err
	}
	for _, change := range []func() error{
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setresgid(UserID, UserID, UserID) },
		func() error { return syscall.Setresuid(UserID, UserID, UserID) },
	} {
		if err := change(); err != nil {
			return fmt.Errorf("become user %s: %w", strconv.Itoa(UserID), err)
		}
	}
	return fmt.Errorf("exec the test again as user %d: %w", UserID, syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}
