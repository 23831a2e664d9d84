package libcontainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/trace"
	"github.com/gourd-oci/gourd/libcontainer/host"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
	"github.com/gourd-oci/gourd/libcontainer/netdevices"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/spec"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/resctrl"
)

// CreateOptions is what the command line says of a new container.
type CreateOptions struct {
	// Root is the directory of all state directories, ID the container's id,
	// Bundle the directory with config.json.
	Root, ID, Bundle string
	// ConsoleSocket is the unix socket that receives the terminal's master,
	// PidFile the file that receives init's pid, PidfdSocket the unix socket
	// that receives a pidfd of init. Empty: none.
	ConsoleSocket, PidFile, PidfdSocket string
	// NoPivot moves the root instead of pivoting (for a rootfs on a ramdisk),
	// NoNewKeyring keeps the caller's session keyring.
	NoPivot, NoNewKeyring bool
	// PreserveFDs is how many fds from 3 on the process inherits; ListenFDs
	// how many of them are LISTEN_FDS'.
	PreserveFDs, ListenFDs int
	// CgroupManager is "cgroupfs", "systemd" or "disabled".
	CgroupManager string
	// Rootless is whether gourd is to do without the rights of root.
	Rootless bool
	// Strict makes an error of everything in the config that would be ignored.
	Strict bool
	// Log takes warnings and, at debug level, the plan. Nil: nobody.
	Log *slog.Logger

	// ViaInit has gourd's init set the container up, also where the raw child
	// can.
	ViaInit bool

	waits bool // see plan.Options
}

// Create makes the container of a bundle and leaves its init waiting at the
// gate. When it fails, nothing of the container is left.
func Create(o CreateOptions) error {
	o.waits = true
	c, err := create(&o, nil)
	if err != nil {
		return err
	}
	return c.Close()
}

// newborn is a container whose init is a child of this process.
type newborn struct {
	*Container
	init     *nsenter.Child
	straight *straightInit // waits for release, without a gate; nil: it is at the gate, or started
}

// Close closes the state directory and the pidfd.
func (n *newborn) Close() error {
	return errors.Join(n.init.PIDFD.Close(), n.Container.Close())
}

// create makes a container and returns it with its lock held. take returns the socket for the terminal of a
// `run` in the foreground, and is called if there is one; it is nil otherwise.
func create(o *CreateOptions, take func() (*os.File, error)) (_ *newborn, err error) {
	log := discard(o.Log)
	p, err := compile(o, take != nil)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		log.Warn(w)
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		text, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("print the plan: %w", err)
		}
		log.Debug("plan", "plan", json.RawMessage(text))
	}

	var dir *state.Dir
	defer func() {
		if err != nil && dir != nil {
			dir.Close() // gives up the lock, when all is undone
		}
	}()
	var devices netdevices.Moved
	defer devices.Close() // when all is undone
	var undo cleanup.Stack
	defer undo.On(&err)
	// What hooks have set up, the poststop hooks take down: they run last,
	// when everything else is gone, and only if a hook has been run at all.
	var t traces
	undo.Add("run the poststop hooks", func() error {
		if t.hooked {
			poststop(p.Hooks.Poststop, p.State, log)
		}
		return nil
	})
	undo.Add("remove the mountpoints", func() error { return rootfs.RemoveMade(p.Rootfs, t.made) })

	if dir, err = state.Reserve(o.Root, o.ID, &undo); err != nil { // the id is ours, and locked
		return nil, err
	}
	f, err := openFiles(o, p, dir, take)
	defer f.close()
	if err != nil {
		return nil, err
	}
	p.Cgroup.For = dir.Path()
	cg, err := makeHome(o, p, &undo)
	if err != nil {
		return nil, err
	}
	defer cg.close()

	group, err := resctrl.Create(p.Resctrl, &undo)
	if err != nil {
		return nil, err
	}
	var mounts *sharedMounts
	if p.Init.Rootfs.Shared && !p.Init.Rootfs.Whole {
		if mounts, err = lookShared(p.Rootfs, p.Enter.MountPath(), f.mountNS); err != nil {
			return nil, err
		}
		undo.Add("take the mounts away", mounts.remove)
	}
	b := creation{
		o: o, p: p, log: log, files: f, home: cg, group: group, devices: &devices, traces: &t, undo: &undo,
		c: &Container{dir: dir, kept: kept{Shared: mounts}},
	}
	if err := b.setUp(); err != nil { // a process in its namespaces and its cgroup, which has done all that can fail
		return nil, err
	}
	c, child := b.c, b.child
	if err := cg.limit(); err != nil { // what would have stopped init's own set-up
		return nil, err
	}
	if cred := &p.Init.Credentials; cred.FromOutside { // init waits for our word
		if err := cred.SetScheduling(child.PID); err != nil {
			return nil, err
		}
	}
	if err := dir.MarkReady(c.rec); err != nil { // before anyone is told
		return nil, err
	}
	// Without this word init ends: were we killed before, nobody would ever
	// start it, and nobody might know of it.
	if err := b.recorded(); err != nil {
		return nil, err
	}
	if err := tell(o.PidFile, o.PidfdSocket, child); err != nil {
		return nil, err
	}
	undo.Release()
	return &newborn{c, child, b.straight}, nil
}

// creation is a create under way: what it has, and is to come to.
type creation struct {
	o       *CreateOptions
	p       *plan.Plan
	log     *slog.Logger
	files   *files
	home    *home
	group   *resctrl.Record
	devices *netdevices.Moved
	traces  *traces
	undo    *cleanup.Stack

	c        *Container
	child    *nsenter.Child // init; nil: there is none
	order    protocol.Order
	straight *straightInit // nil: init is gourd's
	saved    bool          // what does not depend on init is in the state directory
}

// setUp brings init to where it waits for the word that the container is recorded,
// and saves what the later verbs need.
func (b *creation) setUp() error {
	b.undo.Add("end init", func() error {
		if b.child == nil {
			return nil
		}
		return end(b.child)
	})
	why := b.p.Straight()
	if b.o.ViaInit {
		why = "that is wanted"
	}
	if why == "" {
		err := b.setUpStraight()
		var left *leftToInit
		if !errors.As(err, &left) {
			return err
		}
		why = left.Error()
	}
	b.log.Debug("the container is set up by gourd's init", "why", why)
	return b.setUpByInit()
}

// setUpByInit has gourd's own init do it.
func (b *creation) setUpByInit() error {
	p, f := b.p, b.files
	if err := f.openConversation(b.c.dir); err != nil {
		return err
	}
	var err error
	if b.child, err = enter(b.o, p, f, b.home, b.group); err != nil {
		return err
	}
	if w := b.home.Warning(); w != "" {
		b.log.Warn(w)
	}
	p.Init.TellAtGate = p.Init.Waits && trace.On()
	p.Init.Rootfs.PlaceCgroup(b.home.Record().Path)
	if err := grant(p, b.child.PID); err != nil {
		return err
	}
	b.undo.Add("bring the network devices back", b.devices.Back) // before init ends, and with it their namespace
	if err := b.devices.Move(p.Devices, b.child.PID, false); err != nil {
		return err
	}
	if p.Init.AgentMessage, err = agentMessage(p.Init.Seccomp, p.State.Document(specs.StateCreated, b.child.PID), b.child.PID); err != nil {
		return err
	}
	if err := f.conn.Send(protocol.KindPlan, &p.Init, f.forInit()...); err != nil {
		return err
	}
	// While init is at work, and before the first hook, which may ask for the
	// state: init waits for serve with it.
	if err := b.save(); err != nil {
		return err
	}
	b.order = protocol.Order{Mounts: true, AtGate: p.Init.TellAtGate}
	return serve(f.conn, &b.order, p, b.child, b.log, b.traces)
}

// save saves what the later verbs need.
func (b *creation) save() error {
	c, p := b.c, b.p
	shared := c.kept.Shared
	c.kept = keep(p, b.home.Cgroup, b.group)
	c.kept.Shared = shared
	if err := c.record(b.o, p, b.child.PID); err != nil {
		return err
	}
	if b.saved {
		return nil
	}
	if !p.Terminal {
		p.ForExec.Checkpoint.Stdio = givenStdio()
	}
	if err := c.saveForExec(&p.ForExec); err != nil {
		return err
	}
	b.saved = true
	return c.saveResources(p.Resources)
}

// recorded tells init that the container is recorded. A straight init that does
// not wait for start learns it by its release.
func (b *creation) recorded() error {
	switch {
	case b.straight != nil && b.p.Init.Waits:
		return b.straight.leave()
	case b.straight != nil:
		return nil
	}
	if b.p.Init.TellAtGate {
		if err := atGate(b.files.conn, &b.order, b.child); err != nil {
			return err
		}
	}
	return say(b.files.conn, protocol.KindRecorded, b.child)
}

// compile builds the plan and checks it against the options.
func compile(o *CreateOptions, foreground bool) (*plan.Plan, error) {
	defer trace.Begin("compile the plan").End()
	if err := state.ValidID(o.ID); err != nil {
		return nil, err
	}
	b, err := spec.Load(o.Bundle)
	if err != nil {
		return nil, err
	}
	facts, err := host.Probe()
	if err != nil {
		return nil, err
	}
	askSELinux(facts, b.Spec)
	po := plan.Options{
		ID: o.ID, NoPivot: o.NoPivot, NoNewKeyring: o.NoNewKeyring, CgroupManager: o.CgroupManager,
		PreserveFDs: o.PreserveFDs, ListenFDs: o.ListenFDs, Rootless: o.Rootless, Strict: o.Strict,
		Waits: o.waits,
	}
	if o.CgroupManager != "disabled" {
		if po.CgroupRoot, po.CgroupOwn, err = cgroups.Find(); err != nil {
			return nil, err
		}
	}
	if po.HostNamespaces, err = joinsOwn(b.Spec); err != nil {
		return nil, err
	}
	if po.Resctrl, err = findResctrl(b.Spec); err != nil {
		return nil, err
	}
	p, err := plan.Build(b, facts, po)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Terminal && o.ConsoleSocket == "" && !foreground:
		return nil, errors.New("process.terminal is true, but nobody takes the terminal: give --console-socket, or run in the foreground")
	case !p.Terminal && o.ConsoleSocket != "":
		return nil, errors.New("--console-socket is given, but process.terminal is false: there is no terminal to send")
	}
	return p, nil
}

// joinsOwn returns, as CLONE_ flags, the namespaces that the config joins by path
// and that gourd is in itself: what is set there is set on the host. A path that
// cannot be looked at is openNamespace's to tell.
func joinsOwn(s *specs.Spec) (flags uintptr, err error) {
	if s.Linux == nil {
		return 0, nil
	}
	for _, ns := range s.Linux.Namespaces {
		var own, there unix.Stat_t
		flag := plan.NamespaceFlag(ns.Type)
		if flag == 0 || ns.Path == "" || unix.Stat(ns.Path, &there) != nil {
			continue
		}
		err := unix.Stat("/proc/self/ns/"+plan.KernelName(flag), &own)
		if err == unix.ENOENT {
			continue // the kernel has no such namespaces
		} else if err != nil {
			return 0, fmt.Errorf("look at the own %s namespace: %w", ns.Type, err)
		}
		if own.Dev == there.Dev && own.Ino == there.Ino {
			flags |= flag
		}
	}
	return flags, nil
}

// enter starts init in its namespaces and its cgroup.
func enter(o *CreateOptions, p *plan.Plan, f *files, cg *home, group *resctrl.Record) (*nsenter.Child, error) {
	defer trace.Begin("start init in its namespaces").End()
	exe, err := nsenter.Self(p.Enter.Joins(unix.CLONE_NEWUSER) != nil || p.Enter.Joins(unix.CLONE_NEWPID) != nil)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	r := nsenter.Request{
		New:     p.Enter.New,
		Offsets: p.Enter.Offsets,

		DenySetgroups: p.Enter.DenySetgroups,
		MapWriter:     mapWriter(&p.Enter),
		CgroupFD:      cg.birthplace(),
		Exe:           exe,
		Args:          initArgs("gourd", "init", strconv.Itoa(int(f.init.Fd()))),
		Env:           initproc.Environ,
		Keep:          []int{int(f.init.Fd())},
		Stdio:         [3]int{-1, -1, -1},

		BeforeUnshareCgroup: whileWaiting(cg.around(), joinGroup(group)),
	}
	if p.Enter.New&unix.CLONE_NEWUSER != 0 {
		r.UIDMaps, r.GIDMaps = p.Enter.UIDMaps, p.Enter.GIDMaps
	}
	for fd := 3; fd < 3+o.PreserveFDs; fd++ {
		r.Keep = append(r.Keep, fd)
	}
	for i := range p.Enter.Join {
		if j := &p.Enter.Join[i]; j.Flag != unix.CLONE_NEWNS { // init joins that one itself
			r.Join = append(r.Join, nsenter.Join{Flag: j.Flag, FD: f.joins[i], Path: j.Path})
		}
	}
	child, err := nsenter.Start(r)
	if errors.Is(err, unix.ERANGE) && len(r.Offsets) > 0 {
		// time_namespaces(7): only the kernel knows what its clocks say.
		err = fmt.Errorf("linux.timeOffsets: %w (a clock may neither be before 0 nor reach its far end)", err)
	}
	if err != nil {
		return nil, err
	}
	f.closeInit()
	return child, nil
}

// record saves what the later verbs need, as of a container in creation.
func (c *Container) record(o *CreateOptions, p *plan.Plan, pid int) error {
	defer trace.Begin("record the container").End()
	keptJSON, err := spec.Encode(&c.kept)
	if err != nil {
		return fmt.Errorf("container %q: write its record: %w", o.ID, err)
	}
	c.rec = &state.Record{
		ID: o.ID, Bundle: p.State.Bundle, Rootfs: p.Rootfs, OCIVersion: p.State.OCIVersion,
		UID: os.Geteuid(), Created: time.Now().UTC().Format(time.RFC3339Nano),
		Annotations: annotations(p.State.Annotations), Plan: keptJSON,
	}
	if err := c.rec.SetInit(pid); err != nil {
		return err
	}
	return c.dir.Save(c.rec)
}

func annotations(list []plan.Annotation) map[string]string {
	m := make(map[string]string, len(list))
	for _, a := range list {
		m[a.Key] = a.Value
	}
	return m
}

// keep picks from the plan what the later verbs need.
func keep(p *plan.Plan, cg *cgroups.Cgroup, group *resctrl.Record) kept {
	k := kept{
		Cgroup:     cg.Record(),
		Resctrl:    group,
		PrivatePID: p.Enter.New&unix.CLONE_NEWPID != 0,
		Hooks: laterHooks{
			Poststart:      p.Hooks.Poststart,
			PoststartFatal: spec.PoststartFatal(p.State.OCIVersion),
			Poststop:       p.Hooks.Poststop,
		},
	}
	if spec.PrestartInStart(p.State.OCIVersion) {
		k.Hooks.Prestart = p.Hooks.Prestart
	}
	return k
}
