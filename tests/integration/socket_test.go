package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// An fdSocket is a unix socket to which the runtime sends one fd: the master
// of a console, or a pidfd.
type fdSocket struct {
	listener *net.UnixListener
	file     *os.File // what came, once it has come
	seen     []byte   // what the console has shown and nobody expected yet
}

func (s *fdSocket) close() {
	if s.listener != nil { // a terminal has none
		s.listener.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

// receive waits for the fd.
func (s *fdSocket) receive() (*os.File, error) {
	if s.file != nil {
		return s.file, nil
	}
	if err := s.listener.SetDeadline(world.Soon()); err != nil {
		return nil, err
	}
	c, err := s.listener.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(world.Soon()); err != nil {
		return nil, err
	}
	data, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(data, oob)
	if err != nil {
		return nil, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if len(msgs) != 1 {
		return nil, fmt.Errorf("%d control messages came, want 1", len(msgs))
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d fds came, want 1", len(fds))
	}
	unix.CloseOnExec(fds[0])
	s.file = os.NewFile(uintptr(fds[0]), string(data[:n]))
	return s.file, nil
}

// cmdSocket is "socket NAME": listens on $WORK/NAME.sock for an fd; "socket
// close NAME" ends that.
func cmdSocket(ts *testscript.TestScript, neg bool, args []string) {
	d := driverOf(ts)
	switch {
	case !neg && len(args) == 1:
		path := filepath.Join(d.work, args[0]+".sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		ts.Check(err)
		d.sockets[args[0]] = &fdSocket{listener: l}
	case !neg && len(args) == 2 && args[0] == "close":
		socketOf(ts, args[1]).close()
		delete(d.sockets, args[1])
	default:
		ts.Fatalf("usage: socket [close] NAME")
	}
}

func socketOf(ts *testscript.TestScript, name string) *fdSocket {
	s := driverOf(ts).sockets[name]
	if s == nil {
		ts.Fatalf("no socket %q", name)
	}
	return s
}

// cmdConsole talks to the terminal that came through a socket:
//
//	console NAME expect REGEXP   waits until the terminal shows it
//	console NAME send TEXT       types it; \n, \x03 and such are understood
//	console NAME resize ROWS COLS
//	console NAME hangup          waits until no process has the terminal open
func cmdConsole(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: console NAME expect|send|resize|hangup ...")
	}
	s := socketOf(ts, args[0])
	f, err := s.receive()
	ts.Check(err)
	fd := int(f.Fd())
	switch verb, rest := args[1], args[2:]; {
	case verb == "expect" && len(rest) == 1:
		re, err := regexp.Compile(rest[0])
		ts.Check(err)
		for {
			if at := re.FindIndex(s.seen); at != nil {
				fmt.Fprintf(ts.Stdout(), "%s", s.seen[:at[1]])
				s.seen = s.seen[at[1]:]
				return
			}
			if err := s.more(fd); err != nil {
				ts.Fatalf("console %s: %v; it shows:\n%q", args[0], err, s.seen)
			}
		}
	case verb == "send" && len(rest) == 1:
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(rest[0], `"`, `\"`) + `"`)
		ts.Check(err)
		_, err = unix.Write(fd, []byte(text))
		ts.Check(err)
	case verb == "resize" && len(rest) == 2:
		rows, err := strconv.ParseUint(rest[0], 10, 16)
		ts.Check(err)
		cols, err := strconv.ParseUint(rest[1], 10, 16)
		ts.Check(err)
		ts.Check(unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)}))
	case verb == "hangup" && len(rest) == 0:
		for {
			err := s.more(fd)
			if err == unix.EIO {
				fmt.Fprintf(ts.Stdout(), "%s", s.seen)
				return
			}
			ts.Check(err)
		}
	default:
		ts.Fatalf("console: unknown %q", args[1:])
	}
}

// more reads what the terminal shows next.
func (s *fdSocket) more(fd int) error {
	some, err := world.WaitReadable(fd, world.Soon())
	if err != nil {
		return err
	}
	if !some {
		return fmt.Errorf("nothing more comes")
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	s.seen = append(s.seen, buf[:n]...)
	return nil
}

// cmdPidfd is "pidfd NAME [FILE]": the fd that came through the socket is a
// pidfd of the process $PID, or of the one whose pid FILE holds.
func cmdPidfd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: pidfd NAME [FILE]")
	}
	pid := ts.Getenv("PID")
	if len(args) == 2 {
		pid = strings.TrimSpace(ts.ReadFile(args[1]))
	}
	f, err := socketOf(ts, args[0]).receive()
	ts.Check(err)
	info := ts.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if !regexp.MustCompile(`(?m)^Pid:\s+` + pid + `$`).MatchString(info) {
		ts.Fatalf("not a pidfd of %s:\n%s", pid, info)
	}
}
