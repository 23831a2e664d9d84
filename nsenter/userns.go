package nsenter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// UserNamespace returns the file of a new user namespace with these maps and
// no process in it, for the caller to close: what mount_setattr(2) takes to
// map the ids of a mount. The caller must be privileged over its own user
// namespace; the maps are as it sees the ids.
//
// A namespace is made by a process: by a child like Start's, whose table is
// one read. It is killed when its namespace is open here.
func UserNamespace(uids, gids []IDMap) (*os.File, error) {
	if !supported {
		return nil, errUnsupported
	}
	if len(uids) == 0 || len(gids) == 0 {
		return nil, errors.New("make a user namespace: no id maps")
	}
	runtime.LockOSThread() // the signal mask is the thread's
	defer runtime.UnlockOSThread()
	mask, err := ownMask()
	if err != nil {
		return nil, fmt.Errorf("read the signal mask: %w", err)
	}
	pid, peer, err := cloneUser(mask)
	if err != nil {
		return nil, err
	}
	defer func() { // its pid is its own until it is reaped
		unix.Close(peer)
		_ = unix.Kill(pid, unix.SIGKILL)
		reap(pid)
	}()
	if err := writeMaps(&Request{UIDMaps: uids, GIDMaps: gids}, pid); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/user")
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	return f, nil
}

// cloneUser makes a child in a new user namespace and returns its pid. It
// waits until peer, which the caller closes, is closed: also by the caller's
// own death.
func cloneUser(mask uint64) (pid, peer int, err error) {
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()

	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, -1, fmt.Errorf("make a socketpair for the child: %w", err)
	}
	defer unix.Close(ends[1])
	var t Table
	t.Call("close the parent's end", unix.SYS_CLOSE, Num(ends[0]))
	t.Call("wait for the parent's end", unix.SYS_READ, Num(ends[1]), t.Cell(), Num(1)).Kind = Wait
	img, at := newImage(t.size())
	t.link(img, at, end{ends[1], mask})
	l := newLaunch()
	l.image, l.all, l.mask = at, ^uint64(0), mask
	l.use(false, unix.CLONE_NEWUSER, -1) // nothing that only clone3 has is needed
	pid = spawn(l)
	runtime.KeepAlive(img)
	runtime.KeepAlive(l)
	if pid < 0 {
		unix.Close(ends[0])
		return 0, -1, &StepError{Why: "clone a child in a new user namespace", Errno: unix.Errno(-pid)}
	}
	return pid, ends[0], nil
}
