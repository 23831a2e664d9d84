package hooks

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// conversation is gourd's side of a running hook: its stdin, its output and
// its end, all served by one poll loop. Pipes, not files: their memory is
// bounded, and init may be under an RLIMIT_FSIZE.
type conversation struct {
	stdin  int // write end; -1 when closed, as are the other two
	output int // read end
	pidfd  int
	state  []byte // what stdin is still to get
	kept   []byte // the end of the output, see keep
	cut    bool   // there was more
}

// maxOutput is how many bytes of a hook's output its error shows.
const maxOutput = 4096

// pipeSize is a new pipe's capacity in bytes (pipe(7)).
const pipeSize = 64 << 10

// open makes the pipes and returns the hook's ends. close closes the others.
func (c *conversation) open(state []byte) (stdin, output int, err error) {
	c.state = state
	c.stdin, c.output, c.pidfd = -1, -1, -1
	var in, out [2]int
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("make a pipe: %w", err)
	}
	c.stdin = in[1]
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		unix.Close(in[0])
		return -1, -1, fmt.Errorf("make a pipe: %w", err)
	}
	c.output = out[0]
	// Only these ends: the mode belongs to the open file, and the hook is to
	// have blocking ones.
	for _, fd := range [...]int{c.stdin, c.output} {
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(in[0])
			unix.Close(out[1])
			return -1, -1, fmt.Errorf("make a pipe non-blocking: %w", err)
		}
	}
	return in[0], out[1], nil
}

func (c *conversation) close() {
	for _, fd := range [...]*int{&c.stdin, &c.output, &c.pidfd} {
		shut(fd)
	}
}

func shut(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}

// talk feeds the hook and listens to it until it has ended, or its timeout,
// in seconds, is over; 0 means none.
func (c *conversation) talk(poll func([]unix.PollFd, *unix.Timespec) error, timeout int) error {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(time.Duration(timeout) * time.Second)
	}
	for {
		if len(c.state) == 0 {
			shut(&c.stdin) // the hook's end of file
		}
		var set [3]unix.PollFd
		set[0] = unix.PollFd{Fd: int32(c.pidfd), Events: unix.POLLIN}
		n := 1
		for _, p := range [...]unix.PollFd{
			{Fd: int32(c.stdin), Events: unix.POLLOUT}, {Fd: int32(c.output), Events: unix.POLLIN},
		} {
			if p.Fd >= 0 {
				set[n] = p
				n++
			}
		}
		var left *unix.Timespec
		if timeout > 0 {
			ts := unix.NsecToTimespec(max(0, int64(time.Until(deadline))))
			left = &ts
		}
		switch err := poll(set[:n], left); err {
		case nil:
		case unix.EINTR:
			continue
		case unix.ETIMEDOUT:
			return fmt.Errorf("%w after %d s, killed", ErrTimeout, timeout)
		default:
			return fmt.Errorf("poll: %w", err)
		}
		for _, p := range set[1:n] {
			switch {
			case p.Revents == 0:
			case p.Fd == int32(c.stdin):
				c.feed()
			default:
				c.drain()
			}
		}
		if set[0].Revents != 0 {
			return nil
		}
	}
}

// feed writes as much of the state as the pipe takes. A hook need not read
// it: EPIPE, like all of it written, ends the feeding. (The Go runtime
// ignores the SIGPIPE of any fd but 1 and 2.)
func (c *conversation) feed() {
	for len(c.state) > 0 {
		n, err := unix.Write(c.stdin, c.state)
		switch err {
		case nil:
			c.state = c.state[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return
		default:
			c.state = nil
		}
	}
}

// drain reads what output there is, and closes it when there is no more to
// come. It reads no more than a pipe holds (pipe(7)): a hook that writes
// without end must not keep it from the timeout.
func (c *conversation) drain() {
	var buf [4096]byte
	for range pipeSize / len(buf) {
		if c.output < 0 {
			return
		}
		n, err := unix.Read(c.output, buf[:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil || n == 0:
			shut(&c.output)
		default:
			c.keep(buf[:n])
		}
	}
}

// keep appends b to the kept output and forgets its beginning as soon as it
// is longer than it is worth: what went wrong comes last.
func (c *conversation) keep(b []byte) {
	c.kept = append(c.kept, b...)
	if over := len(c.kept) - maxOutput; over > 0 {
		c.kept = append(c.kept[:0], c.kept[over:]...)
		c.cut = true
	}
}

// tail returns the kept output.
func (c *conversation) tail() string {
	s := clean(c.kept)
	if c.cut {
		s = "…" + s
	}
	return s
}
