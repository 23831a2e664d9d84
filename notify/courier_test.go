package notify

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withAgent prepares a fake init with a filter that asks an agent, and returns
// the agent's end of the connection.
func withAgent(t *testing.T, program, size string, env ...string) (dir string, f *fake, agent *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := os.NewFile(uintptr(pair[0]), "agent")
	conn, err := net.FileConn(end)
	end.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	dir, l := listen(t)
	f = prepare(t, l, program, append(env, roleFilter+"=asks", roleAgent+"="+size)...)
	f.agent = os.NewFile(uintptr(pair[1]), "init's")
	f.run(t)
	return dir, f, conn.(*net.UnixConn)
}

// take receives the message and the listener; the connection then ends.
func take(t *testing.T, agent *net.UnixConn) (size int, listener *os.File) {
	t.Helper()
	first, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := agent.ReadMsgUnix(first, oob)
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		t.Fatalf("%d control messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("fds %v, %v", fds, err)
	}
	rest, err := io.ReadAll(agent)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Trim(string(first[:n])+string(rest), "x"); got != "" {
		t.Errorf("the message has %q", got)
	}
	return n + len(rest), os.NewFile(uintptr(fds[0]), "listener")
}

// The agent gets the listener although no call of the thread that has the
// filter would come through, the execve neither: without the agent it fails.
func TestListenerIsDelivered(t *testing.T) {
	for _, size := range []string{"1", "500000"} { // the latter is more than one sendmsg takes
		dir, f, agent := withAgent(t, self(t), size)
		started := make(chan error, 1)
		go func() { started <- start(dir) }()
		n, listener := take(t, agent)
		if size != "1" && n != 500000 {
			t.Errorf("%d bytes came", n)
		}
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", listener.Fd())); err != nil || !strings.Contains(to, "seccomp notify") {
			t.Errorf("the listener is %s, %v", to, err)
		}
		listener.Close() // nobody answers now: ENOSYS
		checkFailure(t, <-started, StepExec, unix.ENOSYS, "exec "+self(t)+": function not implemented")
		checkDeath(t, f, unix.SIGSEGV)
	}
}

func TestAgentIsGone(t *testing.T) {
	dir, f, agent := withAgent(t, self(t), "1")
	agent.Close()
	checkFailure(t, start(dir), StepListener, unix.EPIPE, "send the seccomp filter's listener to its agent: broken pipe")
	checkDeath(t, f, 0)
}
