// Package initproc is what pid 1 does before the user's execve: `gourd init`,
// started by nsenter in the container's namespaces. It takes the plan from
// the runtime, sets the container up from inside, says Ready, and waits at
// the gate for `start`. For an exec it is a further process of a container
// that is set up, and waits for nobody.
//
// It decides nothing: all that could be worked out beforehand is in the plan.
// It logs nothing: what goes wrong is sent to the runtime.
package initproc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/hooks"
	"github.com/gourd-oci/gourd/internal/bornwith"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/landlock"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/seccomp"
)

// Environ is the whole environment of init. One P and no collector: from Ready
// to the execve no thread may be started, for a pids limit may already be in
// force. No preemption by signals: after the filter is loaded, rt_sigreturn may
// be denied. No look at /proc/self/cgroup at start: it can be a FIFO.
var Environ = []string{
	"GOMAXPROCS=1",
	"GOGC=off",
	"GODEBUG=asyncpreemptoff=1,containermaxprocs=0,updatemaxprocs=0",
}

// TraceArg is the last argument of an init whose steps are traced.
const TraceArg = "trace"

// init makes sure that init executes the program on the first thread of the
// process, whose number the runtime has: scheduling is a thread's.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		runtime.LockOSThread()
	}
}

// Main runs init on the conversation whose fd number is the first argument;
// ExecArg after it makes it the init of an exec. It returns only if the process
// could not be executed.
func Main(args []string) {
	runtime.LockOSThread() // ids, capabilities, labels and namespaces are the thread's, too
	if n := len(args); n > 1 && args[n-1] == TraceArg {
		args = args[:n-1]
		trace.Start("gourd init", 0) // the runtime has seen its execve
	}
	exec := len(args) == 2 && args[1] == ExecArg
	if exec {
		if err := hide(); err != nil {
			fail(err.Error())
		}
	}
	debug.SetGCPercent(-1)
	if len(args) != 1 && !exec {
		fail("gourd init is started by gourd create, not by hand")
	}
	fd, err := strconv.Atoi(args[0])
	if err != nil {
		fail(fmt.Sprintf("gourd init: fd %q is not a number", args[0]))
	}
	conn, err := protocol.Open(fd)
	if err != nil {
		fail(err.Error())
	}
	err = converse(conn, exec)
	// If this cannot be sent the runtime is gone, and nobody asks.
	failure := protocol.NewFailure(err)
	failure.Steps = trace.Events()
	var u *unfinished
	if errors.As(err, &u) {
		failure.Made = u.made
	}
	_ = conn.Send(protocol.KindFailed, failure)
	os.Exit(1)
}

// unfinished is the error of a set-up that has made something on the root
// filesystem already.
type unfinished struct {
	error
	made []protocol.Made
}

func (u *unfinished) Unwrap() error { return u.error }

// made is what root has made on the host, as it is sent.
func made(root *rootfs.Root) []protocol.Made {
	var list []protocol.Made
	for _, m := range root.Made() {
		list = append(list, protocol.Made(m))
	}
	return list
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}

// converse receives the plan and does what it says.
func converse(conn *protocol.Conn, exec bool) error {
	kind, do := protocol.KindPlan, run
	if exec {
		kind, do = protocol.KindExec, runExec
	}
	wait := trace.Begin("wait for the plan")
	frame, err := conn.Expect(kind)
	wait.End()
	if err != nil {
		return fmt.Errorf("receive the plan: %w", err)
	}
	return do(conn, frame)
}

// files are the fds that come with the plan.
type files struct {
	notify, gate, console, mountNS, agent int
}

// run sets the container up and executes the process, or returns what failed
// before the gate. The order is the point:
// what needs the host's files comes before pivot_root, what needs privilege
// before the credentials, what can fail before the gate.
func run(conn *protocol.Conn, frame *protocol.Frame) (err error) {
	p, f, err := receive(frame)
	if err != nil {
		return err
	}
	// Whatever the engine leaked into gourd stays out of the container
	// (CVE-2024-21626). The preserved ones are let through by the gate, after
	// the last hook: no hook gets them.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("mark the inherited fds close-on-exec: %w", err)
	}
	if !p.UserNS {
		if err := hide(); err != nil { // in a joined pid namespace others look on
			return err
		}
	}
	if p.JoinMountNS {
		if err := joinMountNS(f.mountNS); err != nil {
			return err
		}
	}
	// A session of its own: no terminal of the caller can reach in.
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("make a new session: %w", err)
	}
	page, err := notify.NewPage(nil) // before the rlimits: one may forbid a file of its size
	if err != nil {
		return err
	}
	if err := p.Credentials.Early(); err != nil { // oom_score_adj needs the host's /proc
		return err
	}
	if p.LoopbackUp {
		if err := LoopbackUp(); err != nil {
			return err
		}
	}
	if err := names(p); err != nil {
		return err
	}

	root, err := rootfs.Open(&p.Rootfs, asker{conn})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = &unfinished{err, made(root)}
		}
	}()
	if err := root.Mount(); err != nil {
		return err
	}
	if p.HookSync { // prestart and createRuntime see the mounts, not yet pivoted
		if err := conn.Send(protocol.KindMounted, &protocol.Progress{Made: made(root)}); err != nil {
			return err
		}
		wait := trace.Begin("wait for the runtime's hooks")
		if _, err := conn.Expect(protocol.KindHooksDone); err != nil {
			return fmt.Errorf("wait for the runtime's hooks: %w", err)
		}
		wait.End()
	}
	if len(p.CreateHooks) > 0 {
		site := hooks.Site{Dir: p.RootfsPath} // where runc runs them
		if err := site.Run("createContainer", p.CreateHooks, p.State.JSON(specs.StateCreating, os.Getpid())); err != nil {
			return err
		}
	}
	if err := root.Pivot(); err != nil {
		return err
	}
	// After the runtime's hooks: they may have moved in the network devices
	// that a sysctl names.
	if err := root.WriteSysctls(); err != nil {
		return err
	}
	if p.Terminal {
		if err := console(root, p, f.console); err != nil {
			return err
		}
	}
	if err := root.Finish(); err != nil { // from here on /proc/sys and the root may be read-only
		return err
	}
	if err := OwnStdio(int(p.Credentials.UID), p.Terminal); err != nil {
		return err
	}
	if err := p.Credentials.ExecLabels(); err != nil { // needs the privileges that Apply drops
		return err
	}
	rules, err := ruleset(p.Landlock, root.FD()) // of files that the user may not reach
	if err != nil {
		return err
	}
	apply := p.Credentials.Apply
	if p.BareGate() {
		apply = p.Credentials.ApplyCarrying
	}
	if err := apply(); err != nil {
		return err
	}
	exe, err := p.Credentials.Resolve(root.FD()) // as the user: permission is the user's
	if err != nil {
		return err
	}
	// At the gate an exec may put a process beside us. Not earlier for an init
	// in a user namespace: its own files in /proc then belong to the host's root.
	if err := hide(); err != nil {
		return err
	}
	gate, err := notify.Prepare(page, f.notify, conn.FD(), &notify.Exec{
		Path: exe.Path, Argv: exe.Argv, Env: exe.Env, Ruleset: rules, Filter: filter(p.Seccomp, f.agent, p.AgentMessage), Preserve: p.PreserveFDs,
	})
	if err != nil {
		return err
	}
	if p.FewTasks {
		spareThreads()
	}
	var next *successor
	if p.BareGate() {
		// An error is none: then the gate is kept by this process.
		next, _ = newSuccessor(p, exe, gate, plan.GateFiles{Runtime: conn.FD(), Listener: f.notify, Lock: f.gate, Page: page.FD(), Ruleset: rules})
	}
	if err := lowerLimits(&p.Credentials); err != nil { // the last: init may not be able to open anything more
		return err
	}
	if err := conn.Send(protocol.KindReady, &protocol.Progress{Made: made(root), Steps: trace.Events()}); err != nil {
		return err
	}
	if p.BareGate() {
		if next != nil {
			err = next.takeOver() // beside what the runtime does now
		}
		if err = errors.Join(err, p.Credentials.PutDown()); err != nil {
			os.Exit(1) // as below
		}
	}
	if p.TellAtGate {
		if err := conn.Send(protocol.KindAtGate, nil); err != nil {
			return err
		}
	}
	if err := gate.Wait(); err != nil { // it reads Recorded, and closes the connection
		os.Exit(1) // nobody is there to be told
	}
	if len(p.StartHooks) > 0 {
		site := hooks.Site{Env: exe.Env, OneThread: true}
		if err := site.Run("startContainer", p.StartHooks, p.State.JSON(specs.StateCreated, os.Getpid())); err != nil {
			gate.Fail(err)
			os.Exit(1)
		}
	}
	gate.Exec()
	return nil
}

// spareThreads leaves the scheduler two idle threads beside those that it has. It
// hands the one P to another whenever this thread has been in a system call for
// a moment; while the thread that it last gave it to has not yet gone to sleep,
// which on a busy machine can take a while, it starts one. Where that fails, Go
// ends the process.
func spareThreads() {
	const n = 2
	here, enough := make(chan struct{}), make(chan struct{})
	for range n {
		go func() {
			runtime.LockOSThread() // and so each is another
			here <- struct{}{}
			<-enough
			runtime.UnlockOSThread()
			here <- struct{}{}
		}()
	}
	for range n {
		<-here
	}
	close(enough)
	for range n {
		<-here
	}
}

// ruleset makes the Landlock ruleset of the plan, with the container's paths as
// they are now; the process is put under it at the very end. 0: there is none.
func ruleset(p *landlock.Plan, root int) (fd int, err error) {
	if p == nil {
		return 0, nil
	}
	defer trace.Begin("make the Landlock ruleset").End()
	return p.Ruleset(root)
}

// filter returns the program as the gate loads it; agent and message are for
// its listener, if it has one.
func filter(p *seccomp.Program, agent int, message []byte) *notify.Filter {
	if p == nil {
		return nil
	}
	f := &notify.Filter{
		Prog: p.Filter, Flags: uint(p.Flags),
		NoExit: p.KillsThread(unix.SYS_EXIT_GROUP) || p.Asks(unix.SYS_EXIT_GROUP),
	}
	if p.Notify {
		f.Agent = &notify.Agent{Socket: agent, Message: message}
	}
	return f
}

// receive takes the plan and its fds out of the frame.
func receive(frame *protocol.Frame) (*plan.Init, *files, error) {
	defer trace.Begin("decode the plan").End()
	p := new(plan.Init)
	if err := frame.Decode(p); err != nil {
		return nil, nil, err
	}
	f := new(files)
	err := take(frame, wanted{true, &f.notify}, wanted{true, &f.gate}, wanted{p.Terminal, &f.console},
		wanted{p.JoinMountNS, &f.mountNS}, wanted{p.AgentMessage != nil, &f.agent})
	return p, f, err
}

// wanted is an fd that comes with the plan, or does not.
type wanted struct {
	there bool
	fd    *int // becomes -1 if it is not there
}

// take gives the frame's fds to those who want them, in this order.
func take(frame *protocol.Frame, all ...wanted) error {
	n := 0
	for _, w := range all {
		if *w.fd = -1; !w.there {
			continue
		}
		if n < len(frame.Files) {
			*w.fd = frame.Files[n]
		}
		n++
	}
	if n != len(frame.Files) {
		return fmt.Errorf("receive the plan: it came with %d fds instead of %d", len(frame.Files), n)
	}
	return nil
}

// names sets the host name and the NIS domain name of the uts namespace.
func names(p *plan.Init) error {
	defer trace.Begin("set the hostname").End()
	if p.Hostname != "" {
		if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
			return fmt.Errorf("hostname: set %q: %w", p.Hostname, err)
		}
	}
	if p.Domainname != "" {
		if err := unix.Setdomainname([]byte(p.Domainname)); err != nil {
			return fmt.Errorf("domainname: set %q: %w", p.Domainname, err)
		}
	}
	return nil
}

// lowerLimits sets the rlimits, and takes back that Go raises the soft limit on
// open files at every start, also at init's.
func lowerLimits(c *credentials.Plan) error {
	var nofile unix.Rlimit
	soft, hard, ok := bornwith.Nofile()
	if ok {
		nofile = unix.Rlimit{Cur: soft, Max: hard}
	} else if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &nofile); err != nil {
		return fmt.Errorf("read the limit on open files: %w", err)
	}
	return c.LowerLimits(nofile)
}

// joinMountNS joins the mount namespace of fd. Go shares the fs attributes
// (root, cwd, umask) between threads, which setns refuses, so this thread
// takes its own first.
func joinMountNS(fd int) error {
	defer trace.Begin("join the mount namespace").End()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the fs attributes: %w", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("join the mount namespace: %w", err)
	}
	return unix.Close(fd)
}
