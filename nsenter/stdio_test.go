package nsenter

import (
	"bytes"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStdioAndKeep(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	kept, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	leak, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	r := request(t, "look")
	r.Keep = []int{int(kept.Fd())}
	r.Env = []string{"A=b c", "D="}
	s := run(t, r)
	if len(s.Files) != 1 || s.Files[0] != itoa(int(kept.Fd())) {
		t.Errorf("files of the child: %v, want only %d (%d leaks)", s.Files, kept.Fd(), leak)
	}
	if s.Environment != "A=b c,D=" {
		t.Errorf("environment %q", s.Environment)
	}
}

// TestStdioSwap makes 1 of what is 0, and the reverse.
func TestStdioSwap(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r := request(t, "look")
	r.Stdio = [3]int{1, 0, 0}
	// Our own 0 is the pipe for the while of the Start.
	null, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(int(in.Fd()), 0, 0); err != nil {
		t.Fatal(err)
	}
	c, err := Start(r)
	if e := unix.Dup3(null, 0, 0); e != nil {
		t.Fatal(e)
	}
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	waitExit(t, c, 0)
	if !bytes.Contains(b, []byte(`"NS"`)) {
		t.Errorf("what the child wrote to its 1 did not reach our 0: %q", b)
	}
}
