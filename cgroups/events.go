package cgroups

import (
	"bytes"
	"errors"
	"fmt"
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
// announces with POLLPRI (cgroup-v2.rst, "[Un]populated Notification").
func (c *Cgroup) await(key string, want bool) error {
	fd, err := openAt(c.fd, "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return awaitFD(fd, key, want, time.Now().Add(patience))
}

func awaitFD(fd int, key string, want bool, deadline time.Time) error {
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
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(left.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("poll cgroup.events: %w", err)
		}
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
