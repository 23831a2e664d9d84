package security

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gourd-oci/gourd/tests/world"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// scratch is where an attack works. It is the world's own, and goes with it.
const scratch = "/run/lab"

// victim stands for the host: a directory that no container has any business
// in. It holds one file, secret.
const victim = "/run/lab/victim"

// climb leads from any directory of an image to the root of the host.
const climb = "../../../../../../../../../../../../../.."

// A lab is what an attack has: the runtime, and bundles to run with it.
type lab struct {
	*world.T
	runtime string   // a copy, which may be overwritten
	self    string   // a copy of this test binary, of which images have links
	state   string   // --root
	exec    []string // the verb, with what says which way it takes; full
	viaInit bool     // create and run take the other way
	runs    int
}

// runAttack is the inside of an attack's world.
func runAttack(t *world.T, arg string) {
	name, viaInit := strings.CutSuffix(arg, viaInit)
	before, err := world.Take("/run")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, runtime: scratch + "/bin/gourd", self: scratch + "/self", state: scratch + "/state", exec: []string{"exec"}}
	if viaInit {
		l.exec = append(l.exec, "--via-init")
	}
	l.viaInit = viaInit
	l.exec = slices.Clip(l.exec)
	rt, err := world.FindRuntime()
	l.must(err)
	for _, dir := range []string{scratch + "/bin", l.state, victim} {
		l.must(os.MkdirAll(dir, 0o755))
	}
	l.copyFile(rt.Path, l.runtime)
	l.copyFile("/proc/self/exe", l.self)
	l.write(victim+"/secret", "of the host")
	for _, a := range attacks() {
		if a.name == name {
			a.run(l)
		}
	}
	if l.Failed() {
		return // it may have stopped anywhere
	}
	l.untouched()
	ids, err := os.ReadDir(l.state)
	l.must(err)
	for _, id := range ids {
		l.Errorf("left behind: container %s", id.Name())
	}
	l.must(os.RemoveAll(scratch))
	left, err := before.Since("/run")
	l.must(err)
	for _, line := range left {
		l.Errorf("left behind: %s", line)
	}
}

// untouched checks that nothing was made in the victim, or changed.
func (l *lab) untouched() {
	entries, err := os.ReadDir(victim)
	l.must(err)
	for _, e := range entries {
		if e.Name() != "secret" {
			l.Errorf("made on the host: %s/%s", victim, e.Name())
		}
	}
	if got := l.read(victim + "/secret"); got != "of the host" {
		l.Errorf("changed on the host: %s/secret is %q", victim, got)
	}
}

func (l *lab) must(err error) {
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) write(path, text string) {
	l.must(os.MkdirAll(filepath.Dir(path), 0o755))
	l.must(os.WriteFile(path, []byte(text), 0o644))
}

func (l *lab) read(path string) string {
	data, err := os.ReadFile(path)
	l.must(err)
	return string(data)
}

func (l *lab) copyFile(from, to string) {
	in, err := os.Open(from)
	l.must(err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	l.must(err)
	_, err = io.Copy(out, in)
	l.must(errors.Join(err, out.Close()))
}

// A bundle is a container to be: spec is written to its config.json at every
// run.
type bundle struct {
	l    *lab
	dir  string
	root string // its root filesystem
	spec *specs.Spec
}

// bundle makes one whose image holds this test binary as /self and nothing
// else. Its config is the runtime's own example without a terminal, and its
// process plays the role.
func (l *lab) bundle(name string, role ...string) *bundle {
	b := &bundle{l: l, dir: filepath.Join(scratch, name)}
	b.root = b.dir + "/rootfs"
	for _, d := range []string{"dev", "etc", "proc", "sys", "tmp"} {
		l.must(os.MkdirAll(filepath.Join(b.root, d), 0o755))
	}
	l.must(os.Link(l.self, b.root+"/self"))
	out, err := exec.Command(l.runtime, "spec", "--bundle", b.dir).CombinedOutput()
	if err != nil {
		l.Fatalf("spec: %v\n%s", err, out)
	}
	b.spec = new(specs.Spec)
	l.must(json.Unmarshal([]byte(l.read(b.dir+"/config.json")), b.spec))
	b.spec.Process.Terminal = false
	b.spec.Root.Readonly = false
	return b.play(role...)
}

// play makes the role the container's process.
func (b *bundle) play(role ...string) *bundle {
	b.spec.Process.Args = append([]string{"/self", "play"}, role...)
	return b
}

// bind adds a bind mount.
func (b *bundle) bind(source, destination string) *bundle {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: destination, Type: "bind", Source: source, Options: []string{"bind"}})
	return b
}

// tmpfs adds a tmpfs.
func (b *bundle) tmpfs(destination string) *bundle {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: destination, Type: "tmpfs", Source: "tmpfs"})
	return b
}

// volume makes a directory of the host that containers share, and mounts it.
func (b *bundle) volume(name, destination string) string {
	dir := filepath.Join(scratch, name)
	b.l.must(os.MkdirAll(dir, 0o755))
	b.bind(dir, destination)
	return dir
}

// without removes the mounts on these destinations and below.
func (b *bundle) without(destinations ...string) *bundle {
	var keep []specs.Mount
next:
	for _, m := range b.spec.Mounts {
		for _, d := range destinations {
			if m.Destination == d || strings.HasPrefix(m.Destination, d+"/") {
				continue next
			}
		}
		keep = append(keep, m)
	}
	b.spec.Mounts = keep
	return b
}

// caps gives the process these capabilities, bounding, permitted and effective.
func (b *bundle) caps(names ...string) *bundle {
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Permitted: names, Effective: names}
	return b
}

// user runs the process as this user and group.
func (b *bundle) user(uid, gid uint32) *bundle {
	b.spec.Process.User = specs.User{UID: uid, GID: gid}
	return b
}

// joinPID makes the container one of the pid namespace of another's init.
func (b *bundle) joinPID(pid int) *bundle {
	for i := range b.spec.Linux.Namespaces {
		if ns := &b.spec.Linux.Namespaces[i]; ns.Type == specs.PIDNamespace {
			ns.Path = fmt.Sprintf("/proc/%d/ns/pid", pid)
		}
	}
	return b
}

// createRuntime adds a hook that plays a role outside of the container, when
// the mounts are made and nothing is masked yet.
func (b *bundle) createRuntime(role ...string) *bundle {
	if b.spec.Hooks == nil {
		b.spec.Hooks = &specs.Hooks{}
	}
	b.spec.Hooks.CreateRuntime = append(b.spec.Hooks.CreateRuntime, specs.Hook{
		Path: b.l.self, Args: append([]string{"self", "play"}, role...),
	})
	return b
}

// save writes config.json.
func (b *bundle) save() {
	data, err := json.Marshal(b.spec)
	b.l.must(err)
	b.l.must(os.WriteFile(b.dir+"/config.json", data, 0o644))
}

// A result is how a run of the runtime went.
type result struct {
	out, err string
	code     int // 128 plus the signal that ended it
}

// A caller is what the runtime is started with beside its arguments.
type caller struct {
	stdin *os.File
	extra []*os.File // from fd 3 on
	attr  *syscall.SysProcAttr
}

// gourd runs the runtime with these arguments.
func (l *lab) gourd(args ...string) result { return l.gourdBy(caller{}, args...) }

// gourdBy is gourd, started by a certain caller.
func (l *lab) gourdBy(c caller, args ...string) result {
	l.runs++
	// Files, not pipes: what a detached container inherits stays open.
	out := l.output("out")
	defer out.Close()
	errs := l.output("err")
	defer errs.Close()
	if l.viaInit && (args[0] == "create" || args[0] == "run") {
		args = slices.Insert(slices.Clone(args), 1, "--via-init")
	}
	cmd := exec.Command(l.runtime, append([]string{"--root", l.state}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.SysProcAttr = out, errs, c.extra, c.attr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if c.stdin != nil {
		cmd.Stdin = c.stdin
	}
	l.must(cmd.Start())
	if ended, err := world.WaitExit(cmd.Process.Pid, world.Soon()); err != nil || !ended {
		cmd.Process.Kill()
		defer l.Fatalf("gourd %s hung (%v)", strings.Join(args, " "), err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.Fatal(err)
	}
	r := result{out: l.read(out.Name()), err: l.read(errs.Name()), code: cmd.ProcessState.ExitCode()}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		r.code = 128 + int(ws.Signal())
	}
	l.Logf("gourd %s: %d\n%s%s", strings.Join(args, " "), r.code, shorten(r.out), shorten(r.err))
	return r
}

// shorten keeps the log readable.
func shorten(s string) string {
	if len(s) > 2000 {
		return s[:2000] + "…\n"
	}
	return s
}

// outputPath is where the last run's output is.
func (l *lab) outputPath(kind string) string {
	return filepath.Join(scratch, fmt.Sprintf("run%d.%s", l.runs, kind))
}

func (l *lab) output(kind string) *os.File {
	f, err := os.OpenFile(l.outputPath(kind), os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_TRUNC, 0o666)
	l.must(err)
	return f
}

// run runs the container in the foreground; it is gone afterwards.
func (b *bundle) run(flags ...string) result { return b.runBy(caller{}, flags...) }

// runBy is run, started by a certain caller.
func (b *bundle) runBy(c caller, flags ...string) result {
	b.save()
	return b.l.gourdBy(c, append(append([]string{"run"}, flags...), "--bundle", b.dir, "c"+filepath.Base(b.dir))...)
}

// runInStepsBy is runBy by create, start and delete, between which init waits.
func (b *bundle) runInStepsBy(by caller) result {
	l := b.l
	b.save()
	id, pidFile := "c"+filepath.Base(b.dir), b.dir+"/pid"
	r := l.gourdBy(by, "create", "--pid-file", pidFile, "--bundle", b.dir, id)
	if r.code != 0 {
		l.Fatalf("create: exit code %d\n%s", r.code, r.err)
	}
	said := l.outputPath("out")
	pid, err := strconv.Atoi(strings.TrimSpace(l.read(pidFile)))
	l.must(err)
	if r = l.gourd("start", id); r.code != 0 {
		l.Fatalf("start: exit code %d\n%s", r.code, r.err)
	}
	if ended, err := world.WaitExit(pid, world.Soon()); err != nil || !ended {
		l.Fatalf("the container has not ended (%v)", err)
	}
	r.out = l.read(said)
	if deleted := l.gourd("delete", id); deleted.code != 0 {
		l.Fatalf("delete: %s", deleted.err)
	}
	return r
}

// mustRun is run of a container that is to work; it returns what it said.
func (b *bundle) mustRun(flags ...string) string {
	r := b.run(flags...)
	if r.code != 0 {
		b.l.Fatalf("the container did not run: exit code %d\n%s%s", r.code, r.out, r.err)
	}
	return r.out
}

// mustRefuse runs a container that must not come to be, for a reason that the
// error names.
func (b *bundle) mustRefuse(what, reason string) {
	r := b.run()
	if r.code == 0 || strings.Contains(r.out, "ran") {
		b.l.Errorf("%s: the container ran:\n%s", what, r.out)
	} else if !strings.Contains(r.err, reason) {
		b.l.Errorf("%s: refused, but not for %q:\n%s", what, reason, r.err)
	}
}

// A container is one that runs in the background until it is ended.
type container struct {
	l   *lab
	id  string
	pid int
}

// start runs the bundle in the background.
func (b *bundle) start() *container { return b.bring("run", "--detach") }

// create leaves the container waiting to be started.
func (b *bundle) create() *container { return b.bring("create") }

func (b *bundle) bring(verb ...string) *container {
	b.save()
	c := &container{l: b.l, id: "c" + filepath.Base(b.dir)}
	pidFile := b.dir + "/pid"
	if r := b.l.gourd(append(verb, "--pid-file", pidFile, "--bundle", b.dir, c.id)...); r.code != 0 {
		b.l.Fatalf("%s: exit code %d\n%s", verb, r.code, r.err)
	}
	var err error
	c.pid, err = strconv.Atoi(strings.TrimSpace(b.l.read(pidFile)))
	b.l.must(err)
	return c
}

// exec runs a role in the container, as another process of it.
func (c *container) exec(flags []string, role ...string) result {
	return c.execBy(caller{}, flags, role...)
}

func (c *container) execBy(by caller, flags []string, role ...string) result {
	args := append(append(slices.Clone(c.l.exec), flags...), c.id, "/self", "play")
	return c.l.gourdBy(by, append(args, role...)...)
}

// end kills the container and deletes it.
func (c *container) end() {
	if r := c.l.gourd("delete", "--force", c.id); r.code != 0 {
		c.l.Fatalf("delete: %s", r.err)
	}
}

// swapping exchanges the names a and b in the directory dir, again and again,
// in a process of its own, all the while f runs; then it leaves a and b as
// they were. It skips the test if nothing was exchanged, for then nothing was
// shown.
func (l *lab) swapping(dir, a, b string, f func()) {
	cmd := exec.Command(l.self, "play", "swap", dir, a, b)
	stdin, err := cmd.StdinPipe()
	l.must(err)
	var said, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &errs
	l.must(cmd.Start())
	f()
	l.must(stdin.Close())
	l.must(cmd.Wait())
	swaps, err := strconv.Atoi(strings.TrimSpace(said.String()))
	if err != nil {
		l.Fatalf("swap %s: %q %s", dir, said.String(), errs.String())
	}
	l.Logf("%d swaps", swaps)
	if swaps == 0 {
		l.Skip("the swapping process never came to swap: nothing is shown")
	}
}

// waitFile waits until a process of an attack has made the file.
func (l *lab) waitFile(path string) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	l.must(err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO)
	l.must(err)
	until := world.Soon()
	for {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		some, err := world.WaitReadable(fd, until)
		l.must(err)
		if !some || time.Now().After(until) {
			l.Fatalf("%s never came", path)
		}
		var buf [4096]byte
		_, err = unix.Read(fd, buf[:])
		l.must(err)
	}
}
