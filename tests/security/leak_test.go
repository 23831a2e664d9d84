package security

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// leaking is a caller with the host's root open wherever it can be.
func leaking(l *lab) caller {
	host, err := os.Open("/")
	l.must(err)
	c := caller{stdin: host}
	for range 20 {
		c.extra = append(c.extra, host)
	}
	return c
}

// leakedDirectory: the working directory, or the program, was found through
// an fd of the runtime's that was open on the host.
func leakedDirectory(l *lab) {
	by := leaking(l)
	defer by.stdin.Close()
	b := l.bundle("b", "where")
	inside := func(what string, r result) {
		if strings.Contains(r.out, "host") || strings.Contains(r.out, "unreachable") || r.code == 0 {
			l.Errorf("%s: ran with exit code %d:\n%s", what, r.code, r.out)
		}
	}
	for fd := range 26 {
		b.spec.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
		inside("cwd "+b.spec.Process.Cwd, b.runBy(by))
	}
	// In other words: by a symlink of the image, by the thread, from above.
	l.must(os.Symlink("/proc/self/fd/9", b.root+"/link"))
	for _, cwd := range []string{"/link", "/proc/thread-self/fd/9", "/proc/1/fd/9" + victim, "/proc/self/cwd/..", "/proc/1/root"} {
		b.spec.Process.Cwd = cwd
		inside("cwd "+cwd, b.runBy(by))
	}
	b.spec.Process.Cwd = "/"
	for fd := range 26 {
		b.spec.Process.Args[0] = fmt.Sprintf("/proc/self/fd/%d%s", fd, l.self)
		inside("program "+b.spec.Process.Args[0], b.runBy(by))
	}
	c := b.play("wait").start()
	defer c.end()
	for fd := range 26 {
		cwd := fmt.Sprintf("/proc/self/fd/%d", fd)
		inside("exec in "+cwd, c.execBy(by, []string{"--cwd", cwd}, "where"))
		inside("exec of "+cwd, l.gourdBy(by, append(l.exec, c.id, cwd+l.self, "play", "where")...))
	}
	inside("exec in /link", c.execBy(by, []string{"--cwd", "/link"}, "where"))
}

// noHostFiles: the container's process has its standard files and nothing
// else, and is where it should be.
func noHostFiles(l *lab) {
	by := leaking(l)
	defer by.stdin.Close()
	by.stdin = nil // the host's /dev/null, which becomes the container's
	b := l.bundle("b", "fds")
	only := func(what, out string) {
		for line := range strings.Lines(out) {
			n, to, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case n == "ran", n == "0" && to == "/dev/null":
			case (n == "1" || n == "2") && strings.HasPrefix(to, scratch+"/run"): // what it was given
			default:
				l.Errorf("%s: fd %s is open on %s", what, n, to)
			}
		}
		if !strings.HasPrefix(out, "ran\n") {
			l.Errorf("%s: did not run", what)
		}
	}
	only("run", b.runBy(by).out)
	b.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/self", Args: []string{"self", "play", "say"}}}}
	only("run with a hook", b.runBy(by).out)
	b.spec.Hooks = nil
	where := func(what, out, cwd string) {
		if !strings.Contains(out, "\ncwd "+cwd+"\n") || strings.Contains(out, "host") {
			l.Errorf("%s: want to be in %s:\n%s", what, cwd, out)
		}
	}
	where("run", b.play("where").runBy(by).out, "/")
	b.spec.Process.Cwd = "/tmp"
	where("run", b.runBy(by).out, "/tmp")
	where("run --no-pivot", b.runBy(by, "--no-pivot").out, "/tmp")
	c := b.play("wait").start()
	defer c.end()
	only("exec", c.execBy(by, nil, "fds").out)
	where("exec", c.execBy(by, nil, "where").out, "/tmp")
}

// initBeforeExecve: what waits at the gate, or executes a hook, is not to be
// looked into by the container's own processes.
func initBeforeExecve(l *lab) {
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
	// A container that comes into the pid namespace of another.
	b := l.bundle("attacker", "peep", "/out").caps(caps...)
	out := b.volume("out", "/out")
	attacker := b.start()
	l.waitFile(out + "/ready")
	for i := range rounds {
		guest := l.bundle(fmt.Sprintf("guest%d", i), "say", "ran").caps(caps...).joinPID(attacker.pid)
		c := guest.create()
		l.waitFile(out + "/seen")
		c.end()
	}
	l.noLeak(out)
	attacker.end()

	// A hook's program, which is the image's.
	b = l.bundle("hook", "say", "ran").caps(caps...)
	out = b.volume("hook-out", "/out")
	b.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/self", Args: []string{"self", "play", "peep-once", "1", "/out/hook"}}}}
	b.mustRun()
	if got := l.read(out + "/hook"); got != "ran\n" {
		l.Errorf("a hook in the container sees of init:\n%s", got)
	}
	// A process that exec has put beside an init at the gate.
	b = l.bundle("created", "wait").caps(caps...)
	c := b.create()
	defer c.end()
	if got := c.exec(nil, "peep-once", "1").out; got != "ran\n" {
		l.Errorf("an exec in a created container sees of init:\n%s", got)
	}
}
