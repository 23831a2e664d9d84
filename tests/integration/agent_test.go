package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/gourd-oci/gourd/tests/world"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// An agent answers the system calls that SCMP_ACT_NOTIFY hands to userspace.
type agent struct {
	listener *net.UnixListener
	path     string     // of the messages, less their number
	errno    unix.Errno // the answer to every call; 0: the kernel goes on with it
	patient  bool       // waits for the end of the connection before it answers
	work     sync.WaitGroup

	mu       sync.Mutex
	messages int
	err      error
}

// cmdAgent is "agent NAME [ERRNO]": listens on $WORK/NAME.sock for listeners
// and answers ERRNO to each call that they tell of, or lets the kernel go on
// with it. What comes with the first listener goes to NAME.1, and so on.
// "agent close NAME" ends it, and fails if something went wrong.
func cmdAgent(ts *testscript.TestScript, neg bool, args []string) {
	d := driverOf(ts)
	switch {
	case neg || len(args) < 1 || len(args) > 2:
		ts.Fatalf("usage: agent NAME [ERRNO], agent close NAME")
	case args[0] == "close":
		a := d.agents[args[1]]
		if a == nil {
			ts.Fatalf("no agent %q", args[1])
		}
		delete(d.agents, args[1])
		ts.Check(a.close())
		return
	}
	// runc 1.1 keeps the connection open as long as it runs itself.
	a := &agent{path: filepath.Join(d.work, args[0]), patient: d.runtime.Kind != "runc"}
	if len(args) == 2 {
		if a.errno = errnoNamed(args[1]); a.errno == 0 {
			ts.Fatalf("agent: no errno %q", args[1])
		}
	}
	var err error
	a.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: a.path + ".sock", Net: "unix"})
	ts.Check(err)
	d.agents[args[0]] = a
	a.work.Go(func() {
		for {
			conn, err := a.listener.AcceptUnix()
			if err != nil {
				return // closed
			}
			a.work.Go(func() { a.fail(a.serve(conn)) })
		}
	})
}

func errnoNamed(name string) unix.Errno {
	for e := unix.Errno(1); e < 200; e++ {
		if unix.ErrnoName(e) == name {
			return e
		}
	}
	return 0
}

func (a *agent) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = errors.Join(a.err, err)
}

// close waits until nothing runs any more under a filter that this agent
// answers for.
func (a *agent) close() error {
	a.listener.Close()
	a.work.Wait()
	return a.err
}

// serve takes one listener and answers its calls.
func (a *agent) serve(conn *net.UnixConn) error {
	defer conn.Close()
	if err := conn.SetDeadline(world.Soon()); err != nil {
		return err
	}
	first, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*8))
	n, oobn, _, _, err := conn.ReadMsgUnix(first, oob)
	if errors.Is(err, io.EOF) {
		return nil // a process that did not come to its filter
	}
	if err != nil {
		return err
	}
	var rest []byte
	if a.patient {
		if rest, err = io.ReadAll(conn); err != nil {
			return err
		}
	}
	fds, err := receivedFDs(oob[:oobn])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("agent: %d fds came, want the listener alone: %w", len(fds), err)
	}
	listener := fds[0]
	defer unix.Close(listener)
	a.mu.Lock()
	a.messages++
	path := fmt.Sprintf("%s.%d", a.path, a.messages)
	a.mu.Unlock()
	if err := os.WriteFile(path, append(first[:n], rest...), 0o644); err != nil {
		return err
	}
	for {
		some, err := world.WaitReadable(listener, world.Deadline())
		if err != nil || !some {
			return err
		}
		call, err := receiveCall(listener)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOENT: // it was killed meanwhile, or all are gone
			if gone, err := hungUp(listener); gone || err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("agent: receive a call: %w", err)
		}
		if err := answerCall(listener, call, a.errno); err != nil && err != unix.ENOENT {
			return fmt.Errorf("agent: answer a call: %w", err)
		}
	}
}

func receivedFDs(oob []byte) ([]int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return nil, err
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// hungUp tells whether nobody has the listener's filter any more.
func hungUp(listener int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	_, err := unix.Poll(p, 0)
	return p[0].Revents&unix.POLLHUP != 0, err
}
