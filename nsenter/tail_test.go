package nsenter

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// finish returns a request whose own steps execute a program.
func finish(t *testing.T, path string, before func(*Tail)) Request {
	t.Helper()
	return Request{
		CgroupFD: -1,
		Stdio:    [3]int{-1, -1, -1},
		Finish: func(tail *Tail) {
			if before != nil {
				before(tail)
			}
			tail.RestoreNofile()
			tail.RestoreMask()
			tail.Call("execute "+path, unix.SYS_EXECVE, tail.String(path), tail.Strings([]string{path}), tail.Strings(nil))
		},
		Ready: func(*Child) error { return nil },
	}
}

// TestFinish is a child that goes all the way to the program by itself.
func TestFinish(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name string
		make func(*Request)
	}{
		{"alone", func(*Request) {}},
		{"a second child", func(r *Request) {
			r.Join = target(t, unix.CLONE_NEWPID)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := finish(t, "/bin/true", nil)
			tt.make(&r)
			ready, before := 0, children(t)
			r.Ready = func(c *Child) error {
				ready = c.PID
				has := slices.DeleteFunc(children(t), func(pid string) bool { return slices.Contains(before, pid) })
				if !slices.Equal(has, []string{strconv.Itoa(c.PID)}) {
					t.Errorf("the child is %d, and there are %v", c.PID, has)
				}
				return unix.PidfdSendSignal(int(c.PIDFD.Fd()), 0, nil, 0)
			}
			c, err := Start(r)
			if err != nil {
				t.Fatal(err)
			}
			defer c.PIDFD.Close()
			ws, ok := reap(c.PID)
			if !ok || ws.ExitStatus() != 0 || ready != c.PID {
				t.Errorf("status %v, %v; pid %d, but ready was %d", ws, ok, c.PID, ready)
			}
		})
	}
}

// children returns the pids of this process's children, also of those that have
// ended and are not reaped.
func children(t *testing.T) (pids []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // that thread has ended
		}
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

func TestFinishFails(t *testing.T) {
	needRoot(t)
	no := errors.New("no")
	r := finish(t, "/bin/true", nil)
	r.Ready = func(*Child) error { return no }
	if _, err := Start(r); !errors.Is(err, no) {
		t.Errorf("a parent that does not agree: %v", err)
	}
	noChildren(t)
	if _, err := Start(finish(t, "/no/such", nil)); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "execute /no/such") {
		t.Errorf("a missing program: %v", err)
	}
	noChildren(t)
}

// TestFinishUnderFilter is a child whose filter denies it all but the execve,
// which fails: it can neither say so nor exit.
func TestFinishUnderFilter(t *testing.T) {
	needRoot(t)
	const allow, denyEPERM = 0x7fff0000, 0x00050000 | uint32(unix.EPERM)
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_EXECVE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
		{Code: unix.BPF_RET | unix.BPF_K, K: denyEPERM},
	}
	c, err := Start(finish(t, "/no/such", func(tail *Tail) {
		var code []byte
		for _, in := range prog {
			code = binary.NativeEndian.AppendUint16(code, in.Code)
			code = append(code, in.Jt, in.Jf)
			code = binary.NativeEndian.AppendUint32(code, in.K)
		}
		fprog := tail.Words(uint64(len(prog)), 0)
		tail.Point(fprog, 1, tail.Bytes(string(code)))
		tail.RestoreMask()
		tail.Call("load the filter", unix.SYS_SECCOMP, Num(unix.SECCOMP_SET_MODE_FILTER), Num(0), fprog)
		tail.Call("execute /no/such", unix.SYS_EXECVE, tail.String("/no/such"), tail.Strings([]string{"x"}), tail.Strings(nil))
	}))
	// Its end may be seen as the execve, as Start says: waiting for it tells.
	if err == nil {
		defer c.PIDFD.Close()
		if ws, ok := reap(c.PID); !ok || ws.Signal() != unix.SIGSEGV {
			t.Errorf("the child ended with %v, %v, want SIGSEGV", ws, ok)
		}
	} else if !strings.Contains(err.Error(), "SIGSEGV") {
		t.Errorf("got %v, want the death by SIGSEGV", err)
	}
	noChildren(t)
}
