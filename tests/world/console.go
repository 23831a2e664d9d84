package world

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Console is the master of a terminal, at which a test sits.
type Console struct {
	File *os.File
	seen []byte // what it has shown and nobody expected yet
}

// OpenTerminal returns the two ends of a new terminal of 24 rows and 80 columns.
func OpenTerminal() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	n, nerr := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = nerr
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// Do is what a script asks of the terminal, and returns what it has shown
// meanwhile:
//
//	expect REGEXP   waits until the terminal shows it
//	send TEXT       types it; \n, \x03 and such are understood
//	resize ROWS COLS
//	hangup          waits until no process has the terminal open
func (c *Console) Do(verb string, args []string) (shown string, err error) {
	fd := int(c.File.Fd())
	switch {
	case verb == "expect" && len(args) == 1:
		return c.expect(fd, args[0])
	case verb == "send" && len(args) == 1:
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[0], `"`, `\"`) + `"`)
		if err != nil {
			return "", err
		}
		_, err = unix.Write(fd, []byte(text))
		return "", err
	case verb == "resize" && len(args) == 2:
		rows, rerr := strconv.ParseUint(args[0], 10, 16)
		cols, cerr := strconv.ParseUint(args[1], 10, 16)
		if err := errors.Join(rerr, cerr); err != nil {
			return "", err
		}
		return "", unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
	case verb == "hangup" && len(args) == 0:
		for {
			switch err := c.more(fd); {
			case err == unix.EIO:
				return string(c.seen), nil
			case err != nil:
				return "", err
			}
		}
	}
	return "", fmt.Errorf("a terminal does not know %q", append([]string{verb}, args...))
}

func (c *Console) expect(fd int, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	for {
		if at := re.FindIndex(c.seen); at != nil {
			shown := string(c.seen[:at[1]])
			c.seen = c.seen[at[1]:]
			return shown, nil
		}
		if err := c.more(fd); err != nil {
			return "", fmt.Errorf("%w; it shows:\n%q", err, c.seen)
		}
	}
}

// more reads what the terminal shows next.
func (c *Console) more(fd int) error {
	some, err := WaitReadable(fd, Soon())
	if err != nil {
		return err
	}
	if !some {
		return errors.New("nothing more comes")
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	c.seen = append(c.seen, buf[:n]...)
	return nil
}
