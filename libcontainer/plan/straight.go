package plan

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/credentials"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/notify"
	"github.com/gourd-oci/gourd/nsenter"
)

// straight.go: a container's init without a Go program. The raw child that has
// been born into its namespaces sets the container up by a table of system
// calls, which are those of initproc in the same order, and then waits at the gate,
// or executes the program. What it needs to know of the root filesystem it finds
// out itself, by steps whose outcome decides how it goes on: nothing is looked up
// by one and used by another.
//
// Its steps are in the files named straight_*, by what they are about.

// Straight returns why the container is to be set up by gourd's init, "" if the
// straight way will do.
func (p *Plan) Straight() (why string) {
	e, i, r, c := &p.Enter, &p.Init, &p.Init.Rootfs, &p.Init.Credentials
	switch {
	case e.New&unix.CLONE_NEWNS == 0:
		return "its mount namespace is not its own"
	case e.New&unix.CLONE_NEWPID == 0: // others could look at it
		return "its pid namespace is not its own"
	case i.UserNS:
		return "it has a user namespace"
	case e.Private(unix.CLONE_NEWTIME):
		return "it has a time namespace"
	case len(p.Devices) > 0: // and would end with the first try
		return "network devices are moved into it"
	case len(i.CreateHooks) > 0:
		return "createContainer hooks are run in it"
	case len(i.StartHooks) > 0:
		return "startContainer hooks are run in it"
	case i.Landlock != nil:
		return "it has Landlock rules"
	case i.Seccomp != nil && i.Seccomp.Notify:
		return "its seccomp filter has a listener"
	case c.SELinuxLabel != "" || r.MountLabel != "":
		return "it has SELinux labels"
	case !ordinary(c):
		return "it has inheritable capabilities beyond the bounding set"
	case r.Shared || r.Whole || r.NoPivot:
		return "its root is not changed by pivot_root"
	case r.Propagation != 0 && (r.Propagation&unix.MS_REC == 0 || r.Propagation&(unix.MS_PRIVATE|unix.MS_SLAVE) == 0):
		return "linux.rootfsPropagation"
	case r.BindDevices || r.AskSources:
		return "its devices are the host's"
	}
	for n := range r.Mounts {
		if why := straightMount(r, n); why != "" {
			return r.Mounts[n].String() + ": " + why
		}
	}
	return ""
}

// StraightFacts are what the table of a straight init needs beside the plan: what
// is known of this process, whose child it is, and of the root filesystem.
type StraightFacts struct {
	Page     int           // notify's, with StraightInit.Behind behind it
	Lock     int           // the gate's file
	Gate     int           // notify's listener; -1: init does not wait for start
	Console  int           // where the terminal goes; -1: there is none
	Owner    uint32        // who may start, beside root
	Signals  uint64        // end init while it waits; see Gate.Signals
	SignalFD int           // a signalfd of these; -1 if there are none
	Null     []int         // which of the fds 0 to 2 are the host's /dev/null
	Own      []int         // which of them become the user's
	Home     string        // what HOME is; "" if it is in the environment
	Limits   []unix.Rlimit // those that this process has of Credentials.Rlimits
	UID, GID int           // of this process: own its keyrings
	// Modes are those of the directories of Init.Covered that there are.
	Modes  map[string]uint32
	Traced bool // note how long things take
}

// Uses are the files that the child has to inherit.
func (f *StraightFacts) Uses() []int {
	fds := []int{f.Page, f.Lock}
	for _, fd := range [...]int{f.Gate, f.SignalFD, f.Console} {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// StraightInit is a straight init to be.
type StraightInit struct {
	Init  *Init
	Facts StraightFacts
	made  []rootfs.Made                     // what the words of the page say of
	words map[string]func(unix.Errno) error // init's, for what steps are for
	spans []trace.Event                     // without their times
}

// The page is notify's. Behind it there is a word for each file that may be made on
// the host, not negative if it has been: whoever takes away what a failed create
// leaves behind reads them there, however the child has ended. Behind these there
// are the times of a trace.
const madeAt = notify.PageSize

// mostMade is how many files may be made on the host, at most.
func (i *StraightInit) mostMade() int {
	r := &i.Init.Rootfs
	n := 1 + len(rootfs.Links) + 3 + names(r.Cwd) // /dev, and core, ptmx and console in it
	for k := range r.Mounts {
		n += 2 * names(r.Mounts[k].Destination) // as a file or as a directory
	}
	for k := range r.Devices {
		n += names(r.Devices[k].Path)
	}
	return n
}

func names(path string) int { return strings.Count(path, "/") }

// mostSpans is how many steps of a trace there are, at most.
func (i *StraightInit) mostSpans() int {
	if !i.Facts.Traced {
		return 0
	}
	return 16 + len(i.Init.Rootfs.Mounts)
}

func (i *StraightInit) spansAt() int { return madeAt + 8*i.mostMade() }

// size is that of the page, with all that is behind it.
func (i *StraightInit) size() int { return i.spansAt() + spanSize*i.mostSpans() }

// Behind is what is behind the page at the beginning.
func (i *StraightInit) Behind() []byte {
	b := make([]byte, i.size()-madeAt)
	for k := range b[:8*i.mostMade()] {
		b[k] = 0xff
	}
	return b
}

// Explain returns the error of a step that has failed after hooks were run, so that
// init cannot begin anew: in the words that it would have, where they are not
// what the step is for.
func (i *StraightInit) Explain(why string, errno unix.Errno) error {
	if words := i.words[why]; words != nil {
		return words(errno)
	}
	return fmt.Errorf("%s: %w", why, errno)
}

// Made returns what has been made on the host.
func (i *StraightInit) Made(page io.ReaderAt) ([]rootfs.Made, error) {
	words := make([]byte, 8*len(i.made))
	if _, err := page.ReadAt(words, madeAt); err != nil {
		return nil, err
	}
	var list []rootfs.Made
	for k, m := range i.made {
		if int64(binary.NativeEndian.Uint64(words[8*k:])) >= 0 {
			list = append(list, m)
		}
	}
	return list, nil
}

// AppendSteps appends the steps from the new namespaces to the execve of the
// program. The order is initproc's.
func (i *StraightInit) AppendSteps(t *nsenter.Tail) {
	f, p := &i.Facts, i.Init
	s := setUp{
		credSteps: credSteps{newSteps(t), &p.Credentials}, i: i, r: &p.Rootfs,
		mounted: map[string]*rootfs.Mount{}, most: i.mostMade(),
	}
	i.made, i.spans, i.words = nil, nil, map[string]func(unix.Errno) error{} // it may be called twice
	t.Grow(200 + 30*len(s.r.Mounts) + 20*len(s.r.Devices) + 30*len(s.r.MaskedPaths) + 8*len(s.r.ReadonlyPaths))
	mapPage(t.Table, f.Page, i.size())
	whole := s.span("set the container up", "")
	s.Call("make a new session", unix.SYS_SETSID)
	s.early()
	s.network()
	s.Call("give modes as they are to be", unix.SYS_UMASK, num(0))
	s.openRoot()
	late := s.mounts()
	if p.HookSync { // they see the mounts, not yet pivoted
		s.Say("tell gourd that the mounts are made")
		s.Await("wait for the runtime's hooks")
	}
	s.pivot()
	s.sysctls()
	var terminal nsenter.Arg
	if p.Terminal {
		terminal = s.console()
	}
	s.finish(late)
	s.ownStdio()
	s.execLabels()
	become := s.span("set the credentials", "")
	s.apply()
	s.wordsOfApply()
	become()
	path := s.resolve()
	s.limits()
	// setresuid(2) has made it what fs.suid_dumpable says.
	s.Call("stay undumpable", unix.SYS_PRCTL, num(unix.PR_SET_DUMPABLE), num(0), num(0), num(0), num(0))
	if p.Terminal {
		s.sendConsole(terminal)
	}
	whole()
	g := gateSteps{t, &Gate{
		Credentials: s.c, Seccomp: p.Seccomp, Owner: f.Owner, Signals: f.Signals,
		Exec:  credentials.Exec{Argv: s.c.Args, Env: s.env()},
		Files: GateFiles{Runtime: t.Socket(), Listener: f.Gate, Lock: f.Lock, Page: f.Page, Signals: f.SignalFD},
	}}
	if f.Gate < 0 {
		s.Say("tell gourd that the container is set up")
		s.Await("wait until the container is recorded")
		g.launch(path.Value())
		return
	}
	g.name() // before anybody looks
	s.Say("tell gourd that the container is set up")
	// Nothing of the set-up stays open for as long as it waits.
	keep := []int{0, 1, 2, t.Socket(), f.Page, f.Lock, f.Gate}
	if f.SignalFD >= 0 {
		keep = append(keep, f.SignalFD)
	}
	for fd := range p.PreserveFDs {
		keep = append(keep, 3+fd)
	}
	s.closeOthers(keep)
	g.wait(path.Value())
}

// wordsOfApply are those that credentials has for its steps.
func (s *setUp) wordsOfApply() {
	if m := s.c.MemoryPolicy; m != nil {
		s.i.words[memoryPolicyWhy(m)] = func(errno unix.Errno) error { return m.Error(errno) }
	}
	for _, step := range [...]string{openCwd, enterCwd} {
		s.i.words[step] = func(errno unix.Errno) error { return s.c.CwdError(errno) }
	}
	s.i.words[stayInRoot] = func(unix.Errno) error { return s.c.CwdError(unix.EXDEV) }
}

// closeOthers closes all fds but these.
func (s *setUp) closeOthers(fds []int) {
	slices.Sort(fds)
	const last = 1<<32 - 1
	next := 0
	for _, fd := range append(fds, last) {
		if fd > next {
			s.Call("close what is not needed any more", unix.SYS_CLOSE_RANGE, num(next), num(fd-1), num(0))
		}
		next = fd + 1
	}
}

// setUp appends the steps of a straight init.
type setUp struct {
	credSteps
	i    *StraightInit
	r    *rootfs.Plan
	proc nsenter.Arg // where the fd of a private procfs is

	mounted map[string]*rootfs.Mount // those that are made, by destination
	most    int                      // mostMade
}

// on returns the mount that a file is on, by their paths; nil is the root.
func (s *setUp) on(file string) *rootfs.Mount {
	for i := strings.LastIndexByte(file, '/'); i > 0; i = strings.LastIndexByte(file[:i], '/') {
		if m := s.mounted[file[:i]]; m != nil {
			return m
		}
	}
	return nil
}

// note returns the word that a step's result goes to which makes a file of this
// path in the container; the zero value if nobody needs to know.
func (s *setUp) note(file string) nsenter.Arg {
	m, ok := rootfs.MadeOn(s.on(file), file)
	if !ok {
		return nsenter.Arg{}
	}
	if len(s.i.made) == s.most {
		s.fail("have room to note what is made")
	}
	s.i.made = append(s.i.made, m)
	return num(pageAt + madeAt + 8*(len(s.i.made)-1))
}

// env is the environment of the program.
func (s *setUp) env() []string {
	env := s.c.Env
	if home := s.i.Facts.Home; home != "" {
		env = append(env[:len(env):len(env)], "HOME="+home)
	}
	return env
}
