package libcontainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
)

// ExecOptions is what the command line says of an exec.
type ExecOptions struct {
	// Root is the directory of all state directories, ID the container's id.
	Root, ID string
	// Process is what to run.
	Process ExecProcess
	// ConsoleSocket is the unix socket that receives the terminal's master,
	// PidFile the file that receives the process's pid, PidfdSocket the unix
	// socket that receives a pidfd of it. Empty: none.
	ConsoleSocket, PidFile, PidfdSocket string
	// Detach returns when the program has been executed. IgnorePaused waits
	// with a paused container until that is resumed.
	Detach, IgnorePaused bool
	// PreserveFDs is how many fds from 3 on the process inherits.
	PreserveFDs int
	// Cgroup is the path of the process's cgroup below the container's, which
	// must exist; nil: the container's own, or where that may have no process,
	// init's.
	Cgroup *string
	// ViaInit goes the way of init also where the process can be executed
	// without a Go program inside.
	ViaInit bool
	// Strict makes an error of everything that would be ignored.
	Strict bool
	// Log takes warnings and, at debug level, the plan. Nil: nobody.
	Log *slog.Logger
}

// Exec runs a process in a container. In the foreground it forwards signals
// and the terminal, and returns the process's exit code when that has ended.
// Detached, it returns 0 as soon as the program has been executed.
func Exec(o ExecOptions) (code int, err error) {
	log := discard(o.Log)
	c, err := Load(o.Root, o.ID)
	if err != nil {
		return -1, err
	}
	defer c.Close()
	if err := c.admitExec(o.IgnorePaused); err != nil {
		return -1, err
	}
	p, err := c.compileExec(&o, log)
	if err != nil {
		return -1, err
	}

	var signals *catcher // from here on a signal is the process's
	if !o.Detach {
		signals = catch()
	}
	var tty *relay
	defer func() { tty.close() }()
	if p.Exec.Terminal && o.ConsoleSocket == "" {
		if tty, err = openRelay(); err != nil {
			return -1, err
		}
	}
	signals.ready()
	child, err := c.startExec(&o, p, tty, log)
	if err != nil {
		if gone := c.admitExec(o.IgnorePaused); gone != nil {
			return -1, gone // it has ended, or been paused, meanwhile
		}
		return -1, err
	}
	defer child.PIDFD.Close()
	if o.Detach {
		return 0, nil
	}
	tty.listen()
	ws, err := forward(child, signals.C, tty)
	if err != nil {
		return -1, err
	}
	tty.drain() // the end of a session leader takes the terminal from all others
	return exitCode(ws), nil
}

// admitExec checks that the container is one to run a process in.
func (c *Container) admitExec(ignorePaused bool) error {
	status, err := c.Status()
	if err != nil {
		return err
	}
	switch {
	case status == state.Stopped:
		return fmt.Errorf("cannot exec in a stopped container (%q): %w", c.rec.ID, ErrNotRunning)
	case status == state.Creating:
		return fmt.Errorf("cannot exec in container %q: it is being created", c.rec.ID)
	case status == state.Paused && !ignorePaused:
		return errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	return nil
}

// compileExec builds the plan and checks it against the options.
func (c *Container) compileExec(o *ExecOptions, log *slog.Logger) (*plan.ExecPlan, error) {
	defer trace.Begin("compile the plan").End()
	k, err := c.loadForExec()
	if err != nil {
		return nil, err
	}
	strict := o.Strict || plan.IsStrict(c.rec.Annotations)
	if err := o.Process.tellIgnored(strict, log); err != nil {
		return nil, err
	}
	process, raw, err := o.Process.in(k)
	if err != nil {
		return nil, err
	}
	switch {
	case process.Terminal && o.Detach && o.ConsoleSocket == "":
		return nil, errors.New("a process with a terminal that is detached needs somebody who takes the terminal: give --console-socket")
	case !process.Terminal && o.ConsoleSocket != "":
		return nil, errors.New("--console-socket is given, but the process has no terminal to send")
	}
	facts, err := host.Probe()
	if err != nil {
		return nil, err
	}
	facts.AskSELinux(process.SelinuxLabel)
	p, err := k.BuildExec(process, facts, plan.ExecOptions{
		PreserveFDs: o.PreserveFDs,
		Await:       process.Terminal && o.ConsoleSocket == "",
		Strict:      strict,
		Raw:         raw,
	})
	if err != nil {
		file := "the process"
		if o.Process.File != "" {
			file = o.Process.File
		}
		return nil, spec.In(file, err)
	}
	for _, w := range p.Warnings {
		log.Warn(w)
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		text, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("print the plan: %w", err)
		}
		log.Debug("plan of the exec", "plan", json.RawMessage(text))
	}
	return p, nil
}

// saveForExec writes what exec needs beside the record.
func (c *Container) saveForExec(k *plan.ForExec) error {
	defer trace.Begin("save what exec needs").End()
	data, err := k.Marshal()
	if err != nil {
		return fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	return c.dir.SaveProcess(data)
}

func (c *Container) loadForExec() (*plan.ForExec, error) {
	data, err := c.dir.LoadProcess()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (it was made by a gourd that had no exec)", err)
	}
	if err != nil {
		return nil, err
	}
	k := new(plan.ForExec)
	if err := k.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	return k, nil
}

// startExec brings the process up to its execve. When it fails no process is
// left.
func (c *Container) startExec(o *ExecOptions, p *plan.ExecPlan, tty *relay, log *slog.Logger) (_ *nsenter.Child, err error) {
	defer trace.Begin("start the process").End()
	var undo cleanup.Stack
	defer undo.On(&err)
	// Before anything of the user's is executed, so that a pid file which cannot
	// be written keeps it from that. It is told when it is executed.
	told, err := announce(o.PidFile, o.PidfdSocket)
	if err != nil {
		return nil, err
	}
	defer told.close()
	f, err := c.openExecFiles(o, p, tty)
	defer f.close()
	if err != nil {
		return nil, err
	}
	if !o.ViaInit && p.Exec.Direct() {
		child, err := c.execDirect(o, p, f)
		if err == nil {
			log.Debug("the process was executed without init")
			undo.Add("end the process", func() error { return end(child) })
			return child, told.tell(child)
		}
		// No program of the user's has been executed. Init does all that the
		// raw child can and more, and has the words for what is wrong.
		log.Debug("the process could not be executed directly", "error", err.Error())
	}
	if err := f.openConversation(); err != nil {
		return nil, err
	}
	child, err := c.enterExec(o, p, f)
	if err != nil {
		return nil, err
	}
	undo.Add("end the process", func() error { return end(child) })
	// What the init of an exec in a user namespace cannot do from inside; an
	// ordinary user has no more rights than it.
	cred := &p.Exec.Credentials
	if cred.UserNS && os.Geteuid() == 0 {
		if err := errors.Join(cred.SetOOMScoreAdj(child.PID), cred.RaiseLimits(child.PID)); err != nil {
			return nil, err
		}
	}
	st := c.hookState()
	p.Exec.AgentMessage, err = agentMessage(p.Exec.Seccomp, st.Document(specs.StateRunning, c.rec.InitPID), child.PID)
	if err != nil {
		return nil, err
	}
	if err := f.conn.Send(protocol.KindExec, &p.Exec, f.forInit()...); err != nil {
		return nil, err
	}
	f.closeAgent()
	if err := serveExec(f.conn, p, child, tty, log); err != nil {
		return nil, c.explainExec(err, cred)
	}
	return child, told.tell(child)
}

// serveExec answers init until its end of the conversation is closed by the
// execve, and returns how that went.
func serveExec(conn *protocol.Conn, p *plan.ExecPlan, child *nsenter.Child, tty *relay, log *slog.Logger) error {
	defer trace.Begin("set the process up, by init").End()
	var order protocol.Order
	var page *os.File
	defer func() {
		if page != nil {
			page.Close()
		}
	}()
	for {
		frame, err := conn.Receive()
		if errors.Is(err, io.EOF) && page != nil {
			return notify.Outcome(page)
		}
		if errors.Is(err, io.EOF) {
			return died(child)
		}
		if err != nil {
			return err
		}
		if err := order.Received(frame.Kind, false); err != nil {
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
			addInit(child, failure.Steps)
			return failure
		case protocol.KindReady:
			if len(frame.Files) != 1 {
				return fmt.Errorf("init sent Ready with %d fds instead of its page", len(frame.Files))
			}
			page = os.NewFile(uintptr(frame.Files[0]), "page of the exec")
			var done protocol.Progress
			if err := frame.Decode(&done); err != nil {
				return err
			}
			addInit(child, done.Steps)
			if !p.Exec.Await {
				continue
			}
			if err := tty.start(); err != nil {
				return err
			}
			if cred := &p.Exec.Credentials; cred.FromOutside {
				if err := cred.SetScheduling(child.PID); err != nil {
					return err
				}
			}
			if err := conn.Send(protocol.KindGo, nil); err != nil {
				return err
			}
		}
	}
}
