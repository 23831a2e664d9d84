package seccomp

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// longDir returns a directory whose path no socket address can hold.
func longDir(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("path", 20))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listen returns a listener in dir, made with a short address.
func listen(t *testing.T, dir string) net.Listener {
	t.Helper()
	t.Chdir(dir)
	l, err := net.Listen("unix", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSendListener(t *testing.T) {
	state := &specs.State{
		Version: "1.3.0", ID: "web", Status: specs.StateCreating, Pid: 42, Bundle: "/b",
		Annotations: map[string]string{"filler": strings.Repeat("x", 300_000)}, // more than one sendmsg takes
	}
	for name, dir := range map[string]string{"short": t.TempDir(), "long": longDir(t)} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, dir)
			sent, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer sent.Close()
			msg, err := ListenerState(state, 42, "meta")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				sock, err := DialListener(filepath.Join(dir, "agent"))
				if err == nil {
					err = SendListener(int(sock.Fd()), int(sent.Fd()), msg)
					sock.Close()
				}
				done <- err
			}()
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			first, oob := make([]byte, 100), make([]byte, unix.CmsgSpace(4*4))
			n, oobn, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(first, oob)
			if err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}

			var got specs.ContainerProcessState
			if err := json.Unmarshal(append(first[:n], rest...), &got); err != nil {
				t.Fatal(err)
			}
			if got.Version != "1.3.0" || !slices.Equal(got.Fds, []string{"seccompFd"}) || got.Pid != 42 || got.Metadata != "meta" ||
				got.State.ID != "web" || got.State.Status != specs.StateCreating || len(got.State.Annotations["filler"]) != 300_000 {
				t.Errorf("got %.300v", got)
			}
			msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil || len(msgs) != 1 {
				t.Fatalf("%d control messages, %v", len(msgs), err)
			}
			fds, err := unix.ParseUnixRights(&msgs[0])
			if err != nil || len(fds) != 1 {
				t.Fatalf("descriptors %v, %v", fds, err)
			}
			received := os.NewFile(uintptr(fds[0]), "received")
			defer received.Close()
			a, _ := sent.Stat()
			if b, err := received.Stat(); err != nil || !os.SameFile(a, b) {
				t.Errorf("another file came: %v", err)
			}
		})
	}
}

func TestDialListenerErrors(t *testing.T) {
	for _, dir := range []string{t.TempDir(), longDir(t)} {
		path := filepath.Join(dir, "nobody")
		_, err := DialListener(path)
		if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), path) {
			t.Errorf("no socket: %v", err)
		}
	}
	t.Run("closed", func(t *testing.T) {
		l := listen(t, t.TempDir()).(*net.UnixListener)
		l.SetUnlinkOnClose(false)
		path, _ := filepath.Abs("agent")
		l.Close()
		if _, err := DialListener(path); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
	})
}

func TestSendListenerToNobody(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	unix.Close(pair[1])
	if err := SendListener(pair[0], pair[0], []byte("{}")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %v", err)
	}
}
