package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// An fdSocket is a unix socket to which the runtime sends one fd: the master
// of a console, or a pidfd.
type fdSocket struct {
	listener      *net.UnixListener
	full          *os.File // listens and never accepts
	path          string   // of full
	world.Console          // what came, once it has come
}

func (s *fdSocket) close() {
	if s.listener != nil { // a terminal has none
		s.listener.Close()
	}
	if s.full != nil {
		s.full.Close()
		os.Remove(s.path)
	}
	if s.File != nil {
		s.File.Close()
	}
}

// receive waits for the fd.
func (s *fdSocket) receive() (*os.File, error) {
	if s.File != nil {
		return s.File, nil
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
	s.File = os.NewFile(uintptr(fds[0]), string(data[:n]))
	return s.File, nil
}

// cmdSocket is "socket NAME": listens on $WORK/NAME.sock for an fd; "socket
// full NAME": listens there and accepts nothing, and its queue is full; "socket
// close NAME" ends either.
func cmdSocket(ts *testscript.TestScript, neg bool, args []string) {
	d := driverOf(ts)
	switch {
	case !neg && len(args) == 1:
		path := filepath.Join(d.work, args[0]+".sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		ts.Check(err)
		d.sockets[args[0]] = &fdSocket{listener: l}
	case !neg && len(args) == 2 && args[0] == "full":
		path := filepath.Join(d.work, args[1]+".sock")
		l, err := linux.ListenUnix(d.work, args[1]+".sock", 0)
		ts.Check(err)
		conn, err := linux.DialUnix(path)
		ts.Check(err)
		conn.Close() // it stays in the queue, of one
		d.sockets[args[1]] = &fdSocket{full: l, path: path}
	case !neg && len(args) == 2 && args[0] == "close":
		socketOf(ts, args[1]).close()
		delete(d.sockets, args[1])
	default:
		ts.Fatalf("usage: socket [full|close] NAME")
	}
}

func socketOf(ts *testscript.TestScript, name string) *fdSocket {
	s := driverOf(ts).sockets[name]
	if s == nil {
		ts.Fatalf("no socket %q", name)
	}
	return s
}

// cmdConsole is "console NAME VERB ARG...": talks to the terminal that came
// through a socket, or that cmdTerminal has made (see world.Console).
func cmdConsole(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: console NAME expect|send|resize|hangup ...")
	}
	s := socketOf(ts, args[0])
	_, err := s.receive()
	ts.Check(err)
	shown, err := s.Do(args[1], args[2:])
	if err != nil {
		ts.Fatalf("console %s: %v", args[0], err)
	}
	fmt.Fprint(ts.Stdout(), shown)
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
