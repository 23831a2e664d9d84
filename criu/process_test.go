package criu

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
)

// TestMain plays CRIU when it is started as one: it follows $GOURD_TEST_CRIU.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "swrk" {
		os.Exit(play(os.Getenv("GOURD_TEST_CRIU")))
	}
	os.Exit(m.Run())
}

// play is a CRIU that restores: it tells of a terminal and of init, and then
// how it went.
func play(how string) int {
	receive := func() *rpc.CriuReq {
		data := make([]byte, maxMessage)
		n, err := unix.Read(3, data)
		if err != nil || n == 0 {
			os.Exit(9)
		}
		req := new(rpc.CriuReq)
		if req.UnmarshalVT(data[:n]) != nil {
			os.Exit(8)
		}
		return req
	}
	send := func(resp *rpc.CriuResp, rights []byte) {
		data, err := resp.MarshalVT()
		if err != nil || unix.Sendmsg(3, data, rights, nil, 0) != nil {
			os.Exit(7)
		}
	}
	notify := func(name string, rights []byte) {
		send(&rpc.CriuResp{
			Type: new(rpc.CriuReqType_NOTIFY), Success: new(true),
			Notify: &rpc.CriuNotify{Script: &name, Pid: new(int32(42))},
		}, rights)
		if answer := receive(); answer.GetType() != rpc.CriuReqType_NOTIFY || !answer.GetNotifySuccess() {
			os.Exit(6)
		}
	}
	req := receive()
	if how == "die" {
		return 1
	}
	notify("orphan-pts-master", unix.UnixRights(0))
	notify("post-restore", nil)
	resp := &rpc.CriuResp{Type: new(req.GetType()), Success: new(how == "")}
	if how == "fail" {
		resp.CrErrno, resp.CrErrmsg = new(int32(unix.EEXIST)), new("the first error\n")
	}
	send(resp, nil)
	return 0
}

func startPlay(t *testing.T, how string) *Process {
	t.Helper()
	t.Setenv("GOURD_TEST_CRIU", how)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Config{Path: self, Cgroup: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func restoreRequest() *rpc.CriuReq {
	return &rpc.CriuReq{Type: new(rpc.CriuReqType_RESTORE), Opts: &rpc.CriuOpts{ImagesDirFd: new(int32(3))}}
}

func TestDo(t *testing.T) {
	p := startPlay(t, "")
	var told []string
	resp, err := p.Do(restoreRequest(), func(e Event) error {
		if (e.File != nil) != (e.Name == "orphan-pts-master") || e.PID != 42 {
			t.Errorf("event %+v", e)
		}
		closeFile(e.File)
		told = append(told, e.Name)
		return nil
	})
	if err != nil || resp.GetType() != rpc.CriuReqType_RESTORE {
		t.Fatal(resp, err)
	}
	if strings.Join(told, " ") != "orphan-pts-master post-restore" {
		t.Errorf("told %q", told)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDoFails(t *testing.T) {
	ignore := func(e Event) error { closeFile(e.File); return nil }
	p := startPlay(t, "fail")
	_, err := p.Do(restoreRequest(), ignore)
	var r *Refusal
	if !errors.As(err, &r) || !errors.Is(err, unix.EEXIST) || r.Text != "the first error" {
		t.Errorf("a refusal is %v", err)
	}
	p = startPlay(t, "die")
	if _, err := p.Do(restoreRequest(), ignore); err == nil || !strings.Contains(err.Error(), "without an answer") {
		t.Errorf("its death is %v", err)
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) {
		t.Errorf("its exit code is %v", err)
	}
	// What goes wrong on our side ends it, too.
	p = startPlay(t, "")
	mine := errors.New("mine")
	if _, err := p.Do(restoreRequest(), func(e Event) error { closeFile(e.File); return mine }); err != mine {
		t.Errorf("an error of the receiver's is %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	refused := func() error { return &Refusal{"first", unix.EINVAL} }
	err := Explain("dump", refused(), dir, DumpLog)
	if !strings.Contains(err.Error(), "first") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a log: %v", err)
	}
	path := filepath.Join(dir, DumpLog)
	for _, c := range []struct{ log, want string }{
		{"", "(its log " + path + " is empty)"},
		{"one\n\ntwo\n", path + " says: one\n\ttwo"},
		{"one\n(1) Error (a.c:1): bad\ntwo\n", path + " says: (1) Error (a.c:1): bad"},
		{strings.Repeat("x\n", 20) + "last", "says: x\n" + strings.Repeat("\tx\n", 6) + "\tlast"},
	} {
		if err := os.WriteFile(path, []byte(c.log), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Explain("dump", refused(), dir, DumpLog)
		if !strings.HasPrefix(err.Error(), "dump: criu failed: invalid argument") || !strings.HasSuffix(err.Error(), c.want) || !errors.Is(err, unix.EINVAL) {
			t.Errorf("log %q: %v", c.log, err)
		}
	}
}
