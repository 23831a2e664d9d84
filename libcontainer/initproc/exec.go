package initproc

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/notify"
)

// ExecArg is the argument after the fd number that makes of `gourd init` the
// init of an exec.
const ExecArg = "exec"

// hide makes the process one that the container's cannot look into: in an
// exec they are there from its first instruction, and may have its very uid.
// They would reach what it has open, its root directory, which is the host's
// until the mount namespace is joined, and its memory (CVE-2016-9962). Until
// here the capabilities that it has and they have not keep them out; those
// are gone at the end of Apply. The execve of the user's program undoes it.
func hide() error {
	if err := linux.Prctl(unix.PR_SET_DUMPABLE, 0, 0); err != nil {
		return fmt.Errorf("become undumpable: %w", err)
	}
	return nil
}

// execFiles are the fds that come with the plan of an exec.
type execFiles struct {
	mountNS, root, console, agent int
}

// runExec makes this process one of a container that is there already, and
// executes the program. The order is the point: what needs the host's files
// comes before the mount namespace is joined, what needs privilege before the
// credentials, and what can fail before Ready.
func runExec(conn *protocol.Conn, frame *protocol.Frame) error {
	p, f, err := receiveExec(frame)
	if err != nil {
		return err
	}
	// Whatever the engine leaked into gourd stays out of the container
	// (CVE-2024-21626). The preserved ones are let through at the very end.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("mark the inherited fds close-on-exec: %w", err)
	}
	page, err := notify.NewPage(nil) // before the rlimits: one may forbid a file of its size
	if err != nil {
		return err
	}
	if err := p.Credentials.Early(); err != nil { // on the host's /proc still
		return err
	}
	if err := setAffinity(p.CPUs); err != nil {
		return err
	}
	if err := joinMountNS(f.mountNS); err != nil { // from here on every path is the container's
		return err
	}
	if p.Chroot {
		if err := changeRoot(f.root); err != nil {
			return err
		}
	}
	// A session of its own: no terminal of the caller can reach in.
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("make a new session: %w", err)
	}
	// The kernel has made the root of the namespace ours, whatever root the
	// container's init has by now, unless its mount namespace is not its own.
	root, err := linux.OpenNoSymlinks(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	if p.Terminal {
		if err := execConsole(root, p, f.console); err != nil {
			return err
		}
	}
	if err := OwnStdio(int(p.Credentials.UID), p.Terminal); err != nil {
		return err
	}
	if err := p.Credentials.ExecLabels(); err != nil { // needs the privileges that Apply drops
		return err
	}
	rules, err := ruleset(p.Landlock, root) // of files that the user may not reach
	if err != nil {
		return err
	}
	if err := p.Credentials.Apply(); err != nil { // enters the working directory too
		return err
	}
	exe, err := p.Credentials.Resolve(root) // as the user: permission is the user's
	if err != nil {
		return err
	}
	launch, err := notify.PrepareLaunch(page, &notify.Exec{
		Path: exe.Path, Argv: exe.Argv, Env: exe.Env, Ruleset: rules, Filter: filter(p.Seccomp, f.agent, p.AgentMessage), Preserve: p.PreserveFDs,
	})
	if err != nil {
		return err
	}
	if err := lowerLimits(&p.Credentials); err != nil { // the last: init may not be able to open anything more
		return err
	}
	if err := conn.Send(protocol.KindReady, &protocol.Progress{Steps: trace.Events()}, page.FD()); err != nil {
		return err
	}
	if p.Await {
		if _, err := conn.Expect(protocol.KindGo); err != nil {
			return fmt.Errorf("wait for the runtime: %w", err)
		}
	}
	launch.Exec() // ends the conversation, which is close-on-exec
	return nil
}

// changeRoot makes the directory of fd the root.
func changeRoot(fd int) error {
	if err := unix.Fchdir(fd); err != nil {
		return fmt.Errorf("chdir to the container's root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to the container's root: %w", err)
	}
	return unix.Close(fd)
}

// receiveExec takes the plan and its fds out of the frame.
func receiveExec(frame *protocol.Frame) (*plan.Exec, *execFiles, error) {
	defer trace.Begin("decode the plan").End()
	p := new(plan.Exec)
	if err := frame.Decode(p); err != nil {
		return nil, nil, err
	}
	f := new(execFiles)
	err := take(frame, wanted{true, &f.mountNS}, wanted{p.Chroot, &f.root}, wanted{p.Terminal, &f.console}, wanted{p.AgentMessage != nil, &f.agent})
	return p, f, err
}

// execConsole makes the process's terminal. Unlike init's it is not on
// /dev/console, which is init's.
func execConsole(root int, p *plan.Exec, socket int) error {
	master, slave, err := rootfs.Terminal(root, p.ConsoleWidth, p.ConsoleHeight)
	if err != nil {
		return err
	}
	return connectConsole(master, slave, socket)
}

// setAffinity sets the CPUs that the calling thread may run on; the kernel
// leaves out those that its cgroup does not allow (sched_setaffinity(2)).
func setAffinity(cpus *unix.CPUSet) error {
	if cpus == nil {
		return nil
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return fmt.Errorf("process.execCPUAffinity.final: set the CPUs to run on: %w", err)
	}
	return nil
}
