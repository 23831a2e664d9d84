package linux

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPidfdOpenOfSession: the leader of a session is gone, and the session lives.
func TestPidfdOpenOfSession(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	survivor, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(survivor, unix.SIGKILL)
	if fd, err := PidfdOpen(survivor); err != nil {
		t.Errorf("a living process: %v", err)
	} else {
		unix.Close(fd)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := PidfdOpen(cmd.Process.Pid); err != unix.ESRCH {
		t.Errorf("got %v, want %v", err, unix.ESRCH)
	}
}
