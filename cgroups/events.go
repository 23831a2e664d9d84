package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for the kernel: a process in uninterruptible
// sleep may never die or freeze.
const patience = 30 * time.Second

// errPatience is why a wait was given up.
var errPatience = errors.New("gave up waiting")

// flag returns the value of a key of a flat-keyed file ("populated 1\n…",
// cgroup-v2.rst, "Format") as a boolean.
func flag(data []byte, key string) bool {
	v, ok := keyed(data, key)
	return ok && string(v) != "0"
}

// keyed returns the value of a key of a flat-keyed file.
func keyed(data []byte, key string) ([]byte, bool) {
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok && len(rest) > 0 && rest[0] == ' ' {
			return bytes.TrimSpace(rest), true
		}
	}
	return nil, false
}

// events reads cgroup.events.
func (c *Cgroup) events() ([]byte, error) { return readAt(c.fd, "cgroup.events") }

// await blocks until key has the value want in cgroup.events, which the kernel
// announces with POLLPRI (cgroup-v2.rst, "[Un]populated Notification"). If the
// cgroup is removed meanwhile it returns an error that gone is true for.
func (c *Cgroup) await(key string, want bool) error {
	fd, err := openAt(c.fd, "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	removal := watchRemoval(c.rec.Path)
	defer removal.close()
	deadline := time.Now().Add(patience)
	for {
		data, err := readAll(fd, "cgroup.events")
		if err != nil {
			return err
		}
		if flag(data, key) == want {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return errPatience
		}
		// The kernel reports a change since the last read, so none is missed
		// between that read and this poll.
		if err := removal.poll(milliseconds(left), announced(fd)); err != nil {
			return fmt.Errorf("poll cgroup.events: %w", err)
		}
	}
}

// removalWatch tells of the removal of a cgroup by somebody else, who may be
// systemd. Polling its files does not: an announcement that comes within 10 ms
// of another one is put off by the kernel (CGROUP_FILE_NOTIFY_MIN_INTV), and
// then dropped with the cgroup, without waking anybody.
type removalWatch struct{ inotify int }

// watchRemoval begins to watch; what is removed before that shows in reading
// the files. Where the user has no inotify instance left it watches nothing, and
// the waits end by their time limits.
func watchRemoval(dir string) removalWatch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return removalWatch{-1}
	}
	// The directory's own IN_DELETE_SELF waits for the last fd, which is ours.
	if _, err := unix.InotifyAddWatch(fd, path.Dir(dir), unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		unix.Close(fd)
		return removalWatch{-1}
	}
	return removalWatch{fd}
}

// poll waits for one of fds, or for a removal beside the cgroup, at most for so
// many milliseconds; -1 is without end. Negative fds are left out.
func (r removalWatch) poll(timeout int, fds ...unix.PollFd) error {
	list := append(make([]unix.PollFd, 0, 4), unix.PollFd{Fd: int32(r.inotify), Events: unix.POLLIN})
	list = append(list, fds...)
	if _, err := unix.Poll(list, timeout); err != nil && err != unix.EINTR {
		return err
	}
	if list[0].Revents != 0 {
		var buf [4096]byte
		_, _ = unix.Read(r.inotify, buf[:]) // whose removal it was shows in the files
	}
	return nil
}

// announced is a wait for the kernel's word that a file of a cgroup, open as
// fd, reads otherwise than it did.
func announced(fd int) unix.PollFd { return unix.PollFd{Fd: int32(fd), Events: unix.POLLPRI} }

// milliseconds returns a time to wait, which is not over too early, as poll(2)
// takes it.
func milliseconds(d time.Duration) int {
	return int(min(max(0, (d+time.Millisecond-1)/time.Millisecond), math.MaxInt32))
}

func (r removalWatch) close() {
	if r.inotify >= 0 {
		unix.Close(r.inotify)
	}
}

// Populated tells whether there is a process in the cgroup or below it. One
// that is gone is not populated.
func (c *Cgroup) Populated() (bool, error) {
	if c.fd < 0 {
		return false, nil
	}
	data, err := c.events()
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cgroup %s: %w", c.rec.Path, err)
	}
	return flag(data, "populated"), nil
}
