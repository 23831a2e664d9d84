package plan

import (
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/seccomp"
)

// gate.go: the wait for start without a Go program. An init that is left at the
// gate, for minutes or for days, executes a stub whose table is what package
// notify does there, from the runtime's word to the user's execve: a few pages of
// memory and one thread in the place of a Go runtime. Everything that can fail
// has been done by then, by Go, which has the words for it.

// BareGate is whether init can wait without Go. Where it cannot, and where the
// stub cannot be executed, Go waits.
func (i *Init) BareGate() bool {
	c := &i.Credentials
	switch {
	case !i.Waits: // one more execve for nothing
		return false
	case len(i.StartHooks) > 0: // run by Go, behind the gate
		return false
	case c.AppArmorProfile != "" || c.SELinuxLabel != "": // are for the next execve, and that would be the stub's
		return false
	case i.Seccomp != nil && i.Seccomp.Notify: // the listener is to be sent
		return false
	}
	// The stub must come up below the limits, for once its execve has thrown
	// away what was there nobody can say what is wrong.
	for _, r := range c.Rlimits {
		switch {
		case (r.Resource == unix.RLIMIT_AS || r.Resource == unix.RLIMIT_DATA) && r.Soft < 16<<20,
			r.Resource == unix.RLIMIT_STACK && r.Soft < 128<<10:
			return false
		}
	}
	return true
}

// Gate is what the stub's table is made of.
type Gate struct {
	Credentials *credentials.Plan
	Exec        credentials.Exec
	Seccomp     *seccomp.Program
	Hello       []byte // goes to the runtime when the stub is there; nil: nothing
	Owner       uint32 // who may start, beside root: notify.Gate.Owner
	// Signals ends init, bit n-1 for signal n: what a pid 1 has to look for, for
	// by themselves they do nothing to it. They are blocked.
	Signals uint64
	Files   GateFiles
}

// EndingSignals end an init that waits for start.
var EndingSignals = [...]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}

// GateFiles are open when the stub is executed, and become close-on-exec in it.
type GateFiles struct {
	Runtime  int // where the runtime says that the container is recorded
	Listener int // notify's
	Lock     int // the gate's file, whose lock says that nobody has started
	Page     int // notify's
	Signals  int // a signalfd of Signals; -1 if there are none
	Ruleset  int // of Landlock, that the process is put under; 0 if there is none
}

// Inherited returns all of them.
func (f *GateFiles) Inherited() []int {
	fds := []int{f.Runtime, f.Listener, f.Lock, f.Page}
	if f.Signals >= 0 {
		fds = append(fds, f.Signals)
	}
	if f.Ruleset > 0 {
		fds = append(fds, f.Ruleset)
	}
	return fds
}

// gateName is the command name of the stub.
const gateName = "gourd"

// AppendSteps appends the steps from the execution of the stub to that of the
// user's program.
func (g *Gate) AppendSteps(t *nsenter.Tail) {
	s := gateSteps{t, g}
	s.settle()
	s.wait(t.String(g.Exec.Path))
}

// wait appends the gate, and what is behind it: the execution of the program whose
// path is there.
func (s gateSteps) wait(path nsenter.Arg) {
	s.recorded()
	signal := s.admit()
	s.launch(path)
	if signal >= 0 {
		s.Steps[signal].Target = s.Here()
		s.signalled()
	}
}

// gateSteps appends the steps.
type gateSteps struct {
	*nsenter.Tail
	g *Gate
}

// settle makes of the new program what Go was: undumpable (it was born so, but
// for an fs.suid_dumpable of 1), with nothing open at an execve, and with the
// capabilities that the process is to be executed with.
func (s gateSteps) settle() {
	s.Call("become undumpable", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(0), num(0), num(0), num(0))
	f := &s.g.Files
	for _, fd := range f.Inherited() {
		s.Call("close a file on exec", unix.SYS_FCNTL, num(fd), num(unix.F_SETFD), num(unix.FD_CLOEXEC))
	}
	capabilities(s.Table, s.g.Credentials)
	s.name()
	mapPage(s.Table, f.Page, notify.PageSize)
}

func (s gateSteps) name() {
	s.Call("take the name", unix.SYS_PRCTL, num(unix.PR_SET_NAME), s.String(gateName), num(0), num(0), num(0))
}

// mapPage maps a file at pageAt, where its words can be stored to.
func mapPage(t *nsenter.Table, fd, size int) {
	t.Call("map the page", unix.SYS_MMAP, num(pageAt), num(size), num(unix.PROT_READ|unix.PROT_WRITE),
		num(unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE), num(fd), num(0))
}

// recorded waits for the runtime's word, to which it may have to tell that the stub
// is there. Without it nobody would ever come.
func (s gateSteps) recorded() {
	if hello := string(s.g.Hello); hello != "" {
		s.Call("say that it waits", unix.SYS_SENDTO, num(s.g.Files.Runtime), s.Bytes(hello), num(len(hello)), num(unix.MSG_NOSIGNAL))
	}
	const room = 64 // longer than the word is
	at := s.Here()
	w := s.Call("wait until the container is recorded", unix.SYS_READ, num(s.g.Files.Runtime), s.Words(make([]uint64, room/8)...), num(room))
	w.Kind, w.Allow, w.Target = nsenter.Wait, nsenter.Errnos(unix.EINTR), at
	s.Call("end the conversation", unix.SYS_CLOSE, num(s.g.Files.Runtime))
}

// admit lets in the first start that may come and that has taken the page, and
// leaves its connection open: it ends with the execve, or with init. It returns
// the index of the jump to where a signal leads, -1 if there is none.
func (s gateSteps) admit() (signal int) {
	f := &s.g.Files
	again := s.Here()
	signal = -1
	if f.Signals >= 0 {
		poll := func(fd, revents uint64) uint64 { return fd | unix.POLLIN<<32 | revents<<48 } // struct pollfd
		fds := s.Words(poll(uint64(f.Listener), 0), poll(uint64(f.Signals), 0))
		w := s.Call("wait for start or a signal", unix.SYS_PPOLL, fds, num(2), num(0), num(0), num(8))
		w.Allow, w.Target = nsenter.Errnos(unix.EINTR), again
		signal = s.Add(nsenter.Step{Kind: nsenter.Jump, Args: [6]nsenter.Arg{fds.Plus(8), num(int(poll(uint64(f.Signals), unix.POLLIN)))}, Why: "a signal has come"})
	}
	conn := s.Cell()
	w := s.Call("wait for start", unix.SYS_ACCEPT4, num(f.Listener), num(0), num(0), num(unix.SOCK_CLOEXEC))
	w.Save, w.Allow, w.Target = conn, nsenter.Errnos(unix.EINTR, unix.ECONNABORTED), again

	// struct ucred is pid, uid, gid, of 32 bits each. The kernel writes as much
	// of it as is asked for: up to the uid, which is then a word by itself.
	cred := s.Words(0, 0).Plus(4)
	uid := cred.Plus(4)
	ask := s.Here()
	s.Call("ask who is there", unix.SYS_GETSOCKOPT, conn.Value(), num(unix.SOL_SOCKET), num(unix.SO_PEERCRED), cred, s.Words(8))
	var in []int
	for _, who := range [...]uint32{s.g.Owner, 0, notify.OverflowUID} {
		in = append(in, s.Add(nsenter.Step{Kind: nsenter.Jump, Args: [6]nsenter.Arg{uid, id(who)}, Why: "let it in"}))
	}
	away := s.Here()
	s.Call("turn it away", unix.SYS_CLOSE, conn.Value())
	s.Goto(again)
	for _, i := range in {
		s.Steps[i].Target = s.Here()
	}
	give := s.Here()
	s.Call("give it the page", unix.SYS_SENDMSG, conn.Value(), s.fdMessage(f.Page), num(unix.MSG_NOSIGNAL))
	for _, i := range [...]int{ask, give} {
		s.Steps[i].Allow, s.Steps[i].Target = nsenter.AnyErrno, away
	}
	s.Call("let nobody else in", unix.SYS_CLOSE, num(f.Listener))
	return signal
}

// fdMessage stores a struct msghdr with one byte and one fd.
func (s gateSteps) fdMessage(fd int) nsenter.Arg {
	return message(s.Table, s.Words(0), 1, rights(s.Table, fd))
}

// rights stores the control message that hands over an fd, which is the word behind
// its struct cmsghdr.
func rights(t *nsenter.Table, fd int) nsenter.Arg {
	return t.Words(unix.SizeofCmsghdr+4, unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, uint64(fd))
}

// message stores a struct msghdr with a text and these rights.
func message(t *nsenter.Table, text nsenter.Arg, length int, rights nsenter.Arg) nsenter.Arg {
	iov := t.Words(0, uint64(length))
	t.Point(iov, 0, text)
	msg := t.Words(0, 0, 0, 1, 0, uint64(unix.CmsgSpace(4)), 0)
	t.Point(msg, 2, iov)
	t.Point(msg, 4, rights)
	return msg
}

// launch is notify's: it puts the process under the Landlock rules, loads the
// filter and executes the program, and what fails is told by the page, into which
// the results go.
func (s gateSteps) launch(path nsenter.Arg) {
	e := &s.g.Exec
	argv, envp := s.Strings(e.Argv), s.Strings(e.Env)
	filter := filterProgram(s.Table, s.g.Seccomp)
	at := func(off int) nsenter.Arg { return num(pageAt + off) }
	s.RestoreMask()
	s.Call("say that the program is executed", unix.SYS_GETTID).Save = at(notify.BegunAt)
	begin := s.Here()
	if rules := s.g.Files.Ruleset; rules > 0 { // before the filter, which may forbid it
		s.Call("restrict the process by Landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, num(rules), num(0)).Save =
			at(notify.ResultAt(notify.StepLandlock))
	}
	if s.g.Seccomp != nil {
		s.Call("load the seccomp filter", unix.SYS_SECCOMP, num(unix.SECCOMP_SET_MODE_FILTER), num(int(s.g.Seccomp.Flags)), filter).Save =
			at(notify.ResultAt(notify.StepFilter))
	}
	s.Call("execute the program", unix.SYS_EXECVE, path, argv, envp).Save = at(notify.ResultAt(notify.StepExec))
	for i := range s.Steps[begin:] {
		step := &s.Steps[begin+i]
		step.Allow, step.Target = nsenter.AnyErrno, s.Here()
	}
	s.exit(1)
	// Where the filter denies that, what ends every stub that fails goes on: it
	// falls over at last.
	s.Call("fail", unix.SYS_CLOSE, num(-1))
}

// signalled ends init as a shell would tell of it.
func (s gateSteps) signalled() {
	const size = 128                           // struct signalfd_siginfo
	info := s.Words(make([]uint64, size/8)...) // begins with the number, and an errno, which is 0
	s.Call("take the signal", unix.SYS_READ, num(s.g.Files.Signals), info, num(size))
	for n := 1; n <= 64; n++ {
		if s.g.Signals&(1<<(n-1)) == 0 {
			continue
		}
		s.SkipIf(info, n, 1)
		s.Goto(s.Here() + 2) // another one
		s.exit(128 + n)
	}
	s.exit(1)
}

func (s gateSteps) exit(status int) {
	s.Call("end", unix.SYS_EXIT_GROUP, num(status)).Allow = nsenter.AnyErrno
}
