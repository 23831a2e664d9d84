package state

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

func TestStatus(t *testing.T) {
	live := process(t)
	zombie := process(t)
	if err := zombie.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, zombie.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	yes := func() (bool, error) { return true, nil }
	no := func() (bool, error) { return false, nil }
	broken := errors.New("no such cgroup")

	type gateIs int
	const (
		none gateIs = iota
		held
		open
	)
	for _, tt := range []struct {
		name   string
		pid    int
		change func(r *Record)
		gate   gateIs
		frozen func() (bool, error)
		want   Status
		err    error
	}{
		{name: "no init yet", pid: 0, want: Stopped},
		{name: "creating", pid: live.Process.Pid, change: func(r *Record) { r.Ready = false }, gate: held, frozen: yes, want: Creating},
		{name: "created", pid: live.Process.Pid, gate: held, frozen: no, want: Created},
		{name: "created and frozen", pid: live.Process.Pid, gate: held, frozen: yes, want: Created},
		{name: "running", pid: live.Process.Pid, gate: open, frozen: no, want: Running},
		{name: "running, no gate", pid: live.Process.Pid, frozen: no, want: Running},
		{name: "running, nobody to ask", pid: live.Process.Pid, gate: open, want: Running},
		{name: "paused", pid: live.Process.Pid, gate: open, frozen: yes, want: Paused},
		{name: "frozen or not", pid: live.Process.Pid, gate: open, frozen: func() (bool, error) { return false, broken }, err: broken},
		{name: "zombie", pid: zombie.Process.Pid, gate: open, frozen: yes, want: Stopped},
		{name: "zombie in creation", pid: zombie.Process.Pid, change: func(r *Record) { r.Ready = false }, want: Stopped},
		{name: "gone", pid: gone.Process.Pid, gate: open, want: Stopped},
		{name: "gone, the gate still held", pid: gone.Process.Pid, gate: held, want: Stopped},
		{name: "pid used again", pid: live.Process.Pid, change: func(r *Record) { r.InitStart-- }, gate: open, want: Stopped},
		{name: "pid used again after a reboot", pid: live.Process.Pid, change: func(r *Record) { r.BootID = "other" }, gate: open, want: Stopped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			d := reserve(t, root, "web")
			r := &Record{ID: "web", Ready: true}
			switch tt.pid {
			case 0:
			case gone.Process.Pid:
				r.InitPID = tt.pid
			default:
				if err := r.SetInit(tt.pid); err != nil {
					t.Fatal(err)
				}
			}
			if tt.change != nil {
				tt.change(r)
			}
			if tt.gate != none {
				gate, err := d.MakeGate("")
				if err != nil {
					t.Fatal(err)
				}
				defer gate.Close()
				if tt.gate == open {
					gate.Close()
				}
			}
			reader, err := Open(root, "web")
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			got, err := reader.Status(r, tt.frozen)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// A process whose first thread has ended is a zombie to /proc but goes on.
func TestStatusOfAnEndedFirstThread(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3, for a process that outlives its first thread")
	}
	cmd := process(t, python, "-c", `
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).syscall(`+strconv.Itoa(unix.SYS_EXIT)+`, 0)`)
	d := reserve(t, t.TempDir(), "web")
	r := &Record{ID: "web", Ready: true}
	if err := r.SetInit(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	for letter := byte(0); letter != 'Z'; {
		st, err := linux.ReadProcStat(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		letter = st.State
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 1); n > 0 || err != nil && err != unix.EINTR {
			t.Fatalf("the process has ended: %v", err)
		}
	}
	if got, err := d.Status(r, nil); got != Running || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, Running)
	}
}

// The gate's lock goes with its open file description and not with the
// process that took it.
func TestGate(t *testing.T) {
	d := reserve(t, t.TempDir(), "web")
	if err := d.AwaitGate(); err != nil { // there is none
		t.Error(err)
	}
	gate, err := d.MakeGate("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.MakeGate(""); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second gate: %v", err)
	}
	// cat has it as its fd 3, and closes it when it ends.
	cmd := exec.Command("cat")
	cmd.ExtraFiles = []*os.File{gate}
	w, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gate.Close()
	if held, err := d.gateHeld(); !held || err != nil {
		t.Errorf("held by the child: %v, %v", held, err)
	}
	waited := make(chan error)
	go func() { waited <- d.AwaitGate() }()
	select {
	case err := <-waited:
		t.Errorf("the wait for the gate is over before the gate is free: %v", err)
	default:
	}
	if held, err := d.gateHeld(); !held || err != nil { // a waiter changes nothing
		t.Errorf("held by the child: %v, %v", held, err)
	}
	w.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if held, err := d.gateHeld(); held || err != nil {
		t.Errorf("held by nobody: %v, %v", held, err)
	}
}

func TestSetInit(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	r := &Record{ID: "web"}
	if err := r.SetInit(gone.Process.Pid); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a process that is gone: %v", err)
	}
	if err := r.SetInit(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if r.InitPID != os.Getpid() || r.InitStart == 0 || len(r.BootID) != 36 {
		t.Errorf("got %+v", r)
	}
}
