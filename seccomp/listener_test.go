package seccomp

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
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

func TestDialListener(t *testing.T) {
	for name, dir := range map[string]string{"short": t.TempDir(), "long": longDir(t)} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, dir)
			sock, err := DialListener(filepath.Join(dir, "agent"))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if flags, err := unix.FcntlInt(sock.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("flags %#x, %v, want close-on-exec", flags, err)
			}
			_, err = sock.WriteString("hello")
			sock.Close()
			if got, rerr := io.ReadAll(conn); string(got) != "hello" {
				t.Errorf("%q came: %v, %v", got, err, rerr)
			}
		})
	}
}

func TestListenerState(t *testing.T) {
	msg, err := ListenerState(&specs.State{Version: "1.3.0", ID: "web", Status: specs.StateCreated, Pid: 41, Bundle: "/b"}, 42, "meta")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":42,"metadata":"meta",` +
		`"state":{"ociVersion":"1.3.0","id":"web","status":"created","pid":41,"bundle":"/b"}}`
	if string(msg) != want {
		t.Errorf("%s, want\n%s", msg, want)
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
	t.Run("full", func(t *testing.T) {
		dir := t.TempDir()
		l, err := linux.ListenUnix(dir, "agent", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		path := filepath.Join(dir, "agent")
		first, err := DialListener(path) // the queue holds one more than it is told
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if flags, err := unix.FcntlInt(first.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %#x, %v, want a blocking socket", flags, err)
		}
		if _, err := DialListener(path); !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), path) {
			t.Errorf("the queue is full: %v", err)
		}
	})
}
