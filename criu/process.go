package criu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"
)

// ErrNotInstalled is the error of Find where there is no CRIU.
var ErrNotInstalled = errors.New("the program criu, which saves processes and brings them back, is not installed")

// Find returns the path of the program criu.
func Find() (string, error) {
	// Engines give their runtime a short PATH now and then.
	for _, name := range []string{"criu", "/usr/local/sbin/criu", "/usr/sbin/criu"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// FirstExtra is the number that the first of Config.Extra has in CRIU: before
// it are stdio and the conversation's socket.
const FirstExtra = 4

// Config is how CRIU is started.
type Config struct {
	Path   string     // as Find returns it
	Extra  []*os.File // what a restored process can inherit
	Cgroup int        // the fd of the cgroup to be born in; -1: the caller's own
}

// Process is a running `criu swrk`, which waits for one request. It must be
// closed.
type Process struct {
	cmd    *exec.Cmd
	socket int
	ended  bool
}

// Start starts CRIU, with /dev/null as its stdio. The calling thread's mount namespace is CRIU's.
func Start(c Config) (*Process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start criu: make its socket: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket of criu")
	defer theirs.Close()
	cmd := exec.Command(c.Path, "swrk", "3")
	cmd.ExtraFiles = append([]*os.File{theirs}, c.Extra...)
	if c.Cgroup >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.Cgroup}
	}
	if err := cmd.Start(); err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("start criu: %w", err)
	}
	return &Process{cmd: cmd, socket: pair[0]}, nil
}

// PID returns CRIU's pid.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// An Event is what CRIU tells on its way, and waits with until it is answered.
type Event struct {
	// Name is CRIU's name of it, such as "setup-namespaces" (criu(8), "action
	// scripts").
	Name string
	// PID is that of the container's init, where it is known.
	PID int
	// File is what came with the event, the master of a terminal for
	// "orphan-pts-master"; nil: nothing. It is the receiver's to close.
	File *os.File
}

// Do sends the request and returns the response. What CRIU tells meanwhile goes
// to notify; an error of its ends the conversation, and with it what CRIU does.
func (p *Process) Do(req *rpc.CriuReq, notify func(Event) error) (*rpc.CriuResp, error) {
	want := req.GetType()
	for {
		if err := p.send(req); err != nil {
			return nil, err
		}
		resp, file, err := p.receive()
		if err != nil {
			return nil, err
		}
		if !resp.GetSuccess() {
			closeFile(file)
			return nil, refusal(resp)
		}
		switch t := resp.GetType(); {
		case t == want:
			closeFile(file)
			return resp, nil
		case t != rpc.CriuReqType_NOTIFY || notify == nil:
			closeFile(file)
			return nil, fmt.Errorf("criu answered %s to %s", t, want)
		}
		n := resp.GetNotify()
		if err := notify(Event{n.GetScript(), int(n.GetPid()), file}); err != nil {
			return nil, err
		}
		req = &rpc.CriuReq{Type: new(rpc.CriuReqType_NOTIFY), NotifySuccess: new(true)}
	}
}

// A Refusal is CRIU's answer that it has failed.
type Refusal struct {
	Text  string // what it gives as the first error; the log has the rest
	Errno unix.Errno
}

func (r *Refusal) Error() string {
	text := "criu failed"
	if r.Errno != 0 {
		text += ": " + r.Errno.Error()
	}
	if r.Text != "" {
		text += ": " + r.Text
	}
	return text
}

// Unwrap returns the errno.
func (r *Refusal) Unwrap() error {
	if r.Errno == 0 {
		return nil
	}
	return r.Errno
}

func refusal(resp *rpc.CriuResp) error {
	return &Refusal{strings.TrimSpace(resp.GetCrErrmsg()), unix.Errno(resp.GetCrErrno())}
}

func (p *Process) send(req *rpc.CriuReq) error {
	data, err := req.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the request to criu: %w", err)
	}
	if err := unix.Sendmsg(p.socket, data, nil, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send criu its request: %w", err)
	}
	return nil
}

// maxMessage is more than CRIU ever sends; a longer one is an error.
const maxMessage = 64 << 10

func (p *Process) receive() (*rpc.CriuResp, *os.File, error) {
	data, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	var n, oobn, flags int
	var err error
	for {
		n, oobn, flags, _, err = unix.Recvmsg(p.socket, data, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("receive criu's answer: %w", err)
	}
	if n == 0 {
		return nil, nil, errors.New("criu ended without an answer")
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, errors.New("receive criu's answer: it is too long")
	}
	file, err := received(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	resp := new(rpc.CriuResp)
	if err := resp.UnmarshalVT(data[:n]); err != nil {
		closeFile(file)
		return nil, nil, fmt.Errorf("decode criu's answer: %w", err)
	}
	return resp, file, nil
}

// received returns the file in the control message, nil without one.
func received(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive criu's file: %w", err)
	}
	if len(msgs) == 0 {
		return nil, nil
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return nil, fmt.Errorf("receive criu's file: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "file of criu"), nil
}

func closeFile(f *os.File) {
	if f != nil {
		f.Close()
	}
}

// Wait ends the conversation and waits for CRIU's own end. Its exit code is
// told where it is not 0.
func (p *Process) Wait() error {
	if p.ended {
		return nil
	}
	p.ended = true
	unix.Close(p.socket)
	return p.wait()
}

// Close ends CRIU if it is still there. What it has not finished it gives up:
// the processes of a dump go on, those of a restore are gone.
func (p *Process) Close() error {
	if p.ended {
		return nil
	}
	err := p.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // it was not asked for success
	}
	return err
}

// wait does not wait, as Cmd.Wait would, for who holds what is copied to.
func (p *Process) wait() error {
	state, err := p.cmd.Process.Wait()
	if err != nil {
		return fmt.Errorf("wait for criu: %w", err)
	}
	if !state.Success() {
		return &exec.ExitError{ProcessState: state}
	}
	return nil
}

// Supports asks CRIU whether it, and the kernel, can do what the options need
// beyond the ordinary, and returns what is missing as an error.
func Supports(path string, o *Options) error {
	if !o.LazyPages && !o.PreDump && o.ParentPath == "" {
		return nil
	}
	p, err := Start(Config{Path: path, Cgroup: -1})
	if err != nil {
		return err
	}
	defer p.Close()
	resp, err := p.Do(&rpc.CriuReq{
		Type:     new(rpc.CriuReqType_FEATURE_CHECK),
		Features: &rpc.CriuFeatures{MemTrack: new(true), LazyPages: new(true)},
	}, nil)
	if err != nil {
		return fmt.Errorf("ask criu for its features: %w", err)
	}
	f := resp.GetFeatures()
	switch {
	case o.LazyPages && !f.GetLazyPages():
		return errors.New("--lazy-pages: criu or the kernel lacks it (userfaultfd)")
	case o.PreDump && !f.GetMemTrack():
		return errors.New("--pre-dump: criu or the kernel lacks it (tracking of changed memory)")
	case o.ParentPath != "" && !f.GetMemTrack():
		return errors.New("--parent-path: criu or the kernel lacks it (tracking of changed memory)")
	}
	return nil
}
