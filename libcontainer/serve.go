package libcontainer

import (
	"errors"
	"io"
	"log/slog"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/nsenter"
)

// serve.go: the runtime's side of the conversation with gourd's init
// (libcontainer/protocol), while that sets the container up.

// traces are what a create that fails leaves behind unless it is taken away.
type traces struct {
	hooked bool          // a hook may have run
	made   []rootfs.Made // on the root filesystem and on volumes
}

// serve answers init until it says Ready, and keeps t up to date.
func serve(conn *protocol.Conn, order *protocol.Order, p *plan.Plan, child *nsenter.Child, log *slog.Logger, t *traces) error {
	defer trace.Begin("set the container up, by init").End()
	mounts := mounter{plan: &p.Init.Rootfs, pid: child.PID}
	defer mounts.close()
	for {
		frame, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return died(child)
		}
		if err != nil {
			return err
		}
		if err := order.Received(frame.Kind, p.Init.HookSync); err != nil {
			return err
		}
		switch frame.Kind {
		case protocol.KindWarning:
			var w protocol.Warning
			if err := frame.Decode(&w); err != nil {
				return err
			}
			log.Warn(w.Text)
		case protocol.KindFailed:
			failure := new(protocol.Failure)
			if err := frame.Decode(failure); err != nil {
				return err
			}
			t.took(failure.Made)
			addInit(child, failure.Steps)
			return failure
		case protocol.KindOpen, protocol.KindMap:
			if err := mounts.answer(conn, frame); err != nil {
				return err
			}
		case protocol.KindMounted:
			if _, err := t.progress(frame); err != nil {
				return err
			}
			t.hooked = true
			if err := createHooks(p, child.PID); err != nil {
				return err
			}
			if err := say(conn, protocol.KindHooksDone, child); err != nil {
				return err
			}
		case protocol.KindReady:
			p, err := t.progress(frame)
			addInit(child, p.Steps)
			return err
		}
	}
}

// atGate waits until init waits at the gate, in the program that it does that in:
// a trace is to show how long that takes. Otherwise create need not wait for it: it
// is done beside whatever comes between create and start.
func atGate(conn *protocol.Conn, order *protocol.Order, child *nsenter.Child) error {
	defer trace.Begin("wait for init to come to the gate").End()
	frame, err := conn.Receive()
	if errors.Is(err, io.EOF) {
		return died(child)
	}
	if err != nil {
		return err
	}
	return order.Received(frame.Kind, false)
}

// progress takes over what init says that it has made.
func (t *traces) progress(frame *protocol.Frame) (p protocol.Progress, err error) {
	if err := frame.Decode(&p); err != nil {
		return p, err
	}
	t.took(p.Made)
	return p, nil
}

// addInit adds init's steps to the trace.
func addInit(child *nsenter.Child, steps []trace.Event) { trace.Add("init", child.PID, steps) }

// initArgs are the command line of an init, with what is to be said last if
// gourd is traced.
func initArgs(args ...string) []string {
	if trace.On() {
		args = append(args, initproc.TraceArg)
	}
	return args
}

// took takes over the list of what init has made.
func (t *traces) took(list []protocol.Made) {
	t.made = t.made[:0]
	for _, m := range list {
		t.made = append(t.made, rootfs.Made(m))
	}
}

// createHooks runs the hooks that belong into the runtime's namespaces before
// pivot_root: prestart where the bundle's spec has it here, then createRuntime.
func createHooks(p *plan.Plan, pid int) error {
	if !spec.PrestartInStart(p.State.OCIVersion) {
		if err := runHooks("prestart", p.Hooks.Prestart, p.State, specs.StateCreating, pid); err != nil {
			return err
		}
	}
	return runHooks("createRuntime", p.Hooks.CreateRuntime, p.State, specs.StateCreating, pid)
}

// say sends init a message without contents.
func say(conn *protocol.Conn, k protocol.Kind, child *nsenter.Child) error {
	err := conn.Send(k, nil)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return died(child)
	}
	return err
}
