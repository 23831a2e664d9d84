package libcontainer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/criu"
	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
	"github.com/gourd-oci/gourd/libcontainer/netdevices"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/state"
	"github.com/gourd-oci/gourd/nsenter"
	"github.com/gourd-oci/gourd/resctrl"
)

// RestoreOptions is what the command line says of a restore.
type RestoreOptions struct {
	RunOptions
	CRIU criu.Options
}

// Restore makes a container of a bundle whose processes are those of a
// checkpoint. In the foreground it stays, as Run does. When it fails, nothing
// of the container is left.
func Restore(o RestoreOptions) (code int, err error) {
	s, err := o.RunOptions.prepare()
	if err != nil {
		return -1, err
	}
	defer s.close()
	c, err := restore(&o, s.take)
	if err != nil {
		return -1, err
	}
	defer c.Close()
	return s.attend(c, nil)
}

// restore returns the container with its lock held, and running.
func restore(o *RestoreOptions, take func() (*os.File, error)) (_ *newborn, err error) {
	log := discard(o.Log)
	if err := o.CRIU.Check(); err != nil {
		return nil, err
	}
	if err := admitRights("restore"); err != nil {
		return nil, err
	}
	if err := findCRIU("restore"); err != nil {
		return nil, err
	}
	p, err := compile(&o.CreateOptions, take != nil)
	if err != nil {
		return nil, err
	}
	if err := admitRestore(p, &o.CRIU); err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		log.Warn(w)
	}
	if o.NoPivot {
		log.Warn("--no-pivot says nothing to a restore: CRIU, which makes the mounts, pivots in any case")
	}

	var dir *state.Dir
	defer func() {
		if err != nil && dir != nil {
			dir.Close() // gives up the lock, when all is undone
		}
	}()
	var undo cleanup.Stack
	r := &restoration{options: o, plan: p, log: log, undo: &undo}
	defer r.devices.Close() // when all is undone
	defer undo.On(&err)
	defer r.close()
	undo.Add("run the poststop hooks", func() error {
		if r.hooked {
			poststop(p.Hooks.Poststop, p.State, log)
		}
		return nil
	})
	undo.Add("remove the mountpoints", func() error { return rootfs.RemoveMade(p.Rootfs, r.made) })

	if dir, err = state.Reserve(o.Root, o.ID, &undo); err != nil { // the id is ours, and locked
		return nil, err
	}
	r.dir = dir
	if err := r.open(take); err != nil { // a wrong path costs nothing
		return nil, err
	}
	if r.home, err = makeHome(&o.CreateOptions, p, &undo); err != nil {
		return nil, err
	}
	if r.group, err = resctrl.Create(p.Resctrl, &undo); err != nil {
		return nil, err
	}
	giveBack, err := keepCgroupOptions(log)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	undo.Add("end what was restored", r.end) // before its cgroup is removed
	undo.Add("bring the network devices back", r.devices.Back)
	if err := r.start(); err != nil { // CRIU, in the cgroup, with the rootfs where it wants it
		return nil, err
	}
	if w := r.home.Warning(); w != "" {
		log.Warn(w)
	}
	if err := r.converse(); err != nil {
		return nil, err
	}
	if err := r.home.limit(); err != nil { // what would have stopped CRIU
		return nil, err
	}
	if err := tell(o.PidFile, o.PidfdSocket, r.init); err != nil {
		return nil, err
	}
	undo.Release()
	return &newborn{r.c, r.init, nil}, nil
}

// admitRestore checks that CRIU can do what the config says.
func admitRestore(p *plan.Plan, o *criu.Options) error {
	if o.AutoDedup && p.Enter.New&unix.CLONE_NEWUSER != 0 {
		return errors.New("--auto-dedup is not built for a container with a user namespace of its own, which only reads the images")
	}
	if p.Init.Landlock != nil {
		return fmt.Errorf("cannot restore container %q: %w", p.State.ID, errLandlocked)
	}
	for _, ns := range p.Enter.Joined() {
		if err := admitJoined(&ns); err != nil {
			return fmt.Errorf("cannot restore container %q: %w", p.State.ID, err)
		}
	}
	return nil
}

// restoration is a container that is being restored.
type restoration struct {
	options *RestoreOptions
	plan    *plan.Plan
	log     *slog.Logger
	undo    *cleanup.Stack

	dir      *state.Dir
	dirs     *images
	home     *home
	group    *resctrl.Record
	console  *os.File // where the terminal goes; nil: no terminal
	terminal bool     // it has gone there
	criu     *criu.Process
	request  criu.Restore
	extra    []*os.File    // for CRIU to inherit
	places   []string      // see rootfs.MakeMountpoints
	made     []rootfs.Made // on the root filesystem and on volumes
	hooked   bool          // a hook may have run
	init     *nsenter.Child
	devices  netdevices.Moved
	c        *Container // from the moment that init is there
}

// open opens all the files, so that a wrong path is found before anything is
// made.
func (r *restoration) open(take func() (*os.File, error)) (err error) {
	o := r.options
	if r.dirs, err = openImages(&o.CRIU, false); err != nil {
		return err
	}
	stdio, null, err := inherited(r.dirs.images)
	if err != nil {
		return err
	}
	if !r.plan.Terminal {
		// As copies: CRIU, which takes care of a terminal that it has as its
		// own stdin, fails with that.
		for _, in := range stdio {
			fd, err := unix.FcntlInt(uintptr(in.FD), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				return fmt.Errorf("pass on fd %d: %w", in.FD, err)
			}
			r.inherit(in.Key, os.NewFile(uintptr(fd), in.Key))
		}
	}
	for _, key := range null {
		f, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		r.inherit(key, f)
	}
	for i := range r.plan.Enter.Join {
		j := &r.plan.Enter.Join[i]
		fd, err := openNamespace(j)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), j.Path)
		ns := r.plan.Enter.Joined()[i]
		if key, ok := externalNamespaces[ns.Type]; ok {
			r.inherit(key, f)
			continue
		}
		f.Close()
		r.request.Join = append(r.request.Join, criu.Join(ns))
	}
	switch {
	case o.ConsoleSocket != "":
		if r.console, err = linux.DialUnix(o.ConsoleSocket); err != nil {
			return fmt.Errorf("--console-socket %s: %w", o.ConsoleSocket, err)
		}
	case r.plan.Terminal:
		if r.console, err = take(); err != nil {
			return err
		}
	}
	r.request.ConfigFile = configFile(annotations(r.plan.State.Annotations))
	return nil
}

// inherit gives CRIU a file that takes the place of the one called key.
func (r *restoration) inherit(key string, f *os.File) {
	r.request.Inherit = append(r.request.Inherit, criu.Inherit{Key: key, FD: criu.FirstExtra + len(r.extra)})
	r.extra = append(r.extra, f)
}

func (r *restoration) close() {
	for _, f := range append(r.extra, r.console) {
		if f != nil {
			f.Close()
		}
	}
	if r.dirs != nil {
		r.dirs.close()
	}
	if r.home != nil {
		r.home.close()
	}
}

// start starts CRIU in the container's cgroup and in a mount namespace that
// goes when it does.
func (r *restoration) start() error {
	path, err := criu.Find()
	if err != nil {
		return err
	}
	if err := criu.Supports(path, &r.options.CRIU); err != nil {
		return err
	}
	c := criu.Config{Path: path, Extra: r.extra, Cgroup: r.home.birthplace()}
	if !r.plan.Terminal {
		// As init does with what it is given.
		if err := initproc.OwnStdio(r.plan.Enter.HostUID(r.plan.Init.Credentials.UID), false); err != nil {
			return err
		}
	}
	err = onThread(func() (err error) {
		if err := r.mountRoot(); err != nil {
			return err
		}
		// CRIU mounts something below the directory that it works in, which
		// has to be one of its mount namespace.
		r.dirs.close()
		if r.dirs, err = openImages(&r.options.CRIU, false); err != nil {
			return err
		}
		if r.plan.Enter.New&unix.CLONE_NEWUSER != 0 {
			if err := r.dirs.open(); err != nil {
				return err
			}
		}
		// What CRIU forks inherits it; it knows of none itself.
		if err := r.plan.Init.Credentials.SetMemoryPolicy(); err != nil {
			return err
		}
		r.criu, err = criu.Start(c)
		return err
	})
	if err != nil {
		return err
	}
	if move := whileWaiting(r.home.around(), joinGroup(r.group)); move != nil {
		return move(r.criu.PID()) // what it forks is there too
	}
	return nil
}

// mountRoot makes a mount namespace for the calling thread, in it the
// mountpoints that CRIU needs, and at last the mount that it wants the root to
// be. The state directory, which nobody looks at there, is where that is.
func (r *restoration) mountRoot() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace for criu: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make criu's mounts its own: %w", err)
	}
	r.request.Root = r.dir.Path()
	bind := func() error {
		if err := unix.Mount(r.plan.Rootfs, r.request.Root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind the root filesystem %s for criu: %w", r.plan.Rootfs, err)
		}
		return nil
	}
	if err := bind(); err != nil {
		return err
	}
	var err error
	if r.places, r.made, err = r.plan.Init.Rootfs.MakeMountpoints(r.request.Root); err != nil {
		return err
	}
	if err := unix.Unmount(r.request.Root, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s for criu: %w", r.request.Root, err)
	}
	return bind()
}

// converse has CRIU restore the processes.
func (r *restoration) converse() error {
	cgroup, err := r.cgroup()
	if err != nil {
		return err
	}
	r.request.Cgroup = cgroup
	r.plan.Init.Rootfs.PlaceCgroup(r.home.Record().Path)
	r.request.Mounts = r.mounts()
	req, err := r.options.CRIU.Restore(&r.request, int(r.dirs.images.Fd()), r.dirs.workFD())
	if err != nil {
		return err
	}
	_, err = r.criu.Do(req, r.notified)
	if err == nil {
		err = r.criu.Wait()
	}
	if err == nil && r.init == nil {
		err = errors.New("criu has not told the pid of init")
	}
	if err == nil && r.plan.Terminal && !r.terminal {
		err = errors.New("process.terminal is true, but the images have no terminal")
	}
	if err != nil {
		err = errors.Join(err, r.criu.Close()) // so that the log is whole
		return criu.Explain(fmt.Sprintf("restore container %q", r.options.ID), err, r.dirs.log, criu.RestoreLog)
	}
	return nil
}

// cgroup returns the container's cgroup as CRIU, which is in it, sees it; ""
// for a container without.
func (r *restoration) cgroup() (string, error) {
	if r.home.Record().Path == "" {
		return "", nil
	}
	return cgroups.OfProcess(r.criu.PID())
}

// mounts says what to mount where CRIU finds mounts in the images that are not
// the container's own. They are known by their destinations in the config or,
// in images of other runtimes, by what these became in the root filesystem.
func (r *restoration) mounts() []criu.Mount {
	var list []criu.Mount
	p := &r.plan.Init.Rootfs
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Kind != rootfs.Bind {
			continue
		}
		list = append(list, criu.Mount{Key: m.Destination, Value: m.Source})
		if place := r.places[i]; place != "" && place != m.Destination {
			list = append(list, criu.Mount{Key: place, Value: m.Source})
		}
	}
	for _, path := range p.External().Devices {
		list = append(list, criu.Mount{Key: path, Value: path})
	}
	return append(list, criu.Mount{Key: "/dev/null", Value: "/dev/null"}) // over masked paths
}

// notified does what is due when CRIU tells how far it is.
func (r *restoration) notified(e criu.Event) error {
	switch e.Name {
	case "orphan-pts-master":
		return r.sendTerminal(e.File)
	case "setup-namespaces":
		if err := r.born(e.PID); err != nil {
			return err
		}
		if r.plan.Init.LoopbackUp {
			if err := loopbackUp(e.PID); err != nil {
				return err
			}
		}
		// Of a namespace that is joined they are part since the create.
		joined := r.plan.Enter.Joins(unix.CLONE_NEWNET) != nil
		if err := r.devices.Move(r.plan.Devices, e.PID, joined); err != nil {
			return err
		}
		r.hooked = true
		return createHooks(r.plan, e.PID)
	case "post-restore": // before the processes go on
		if err := r.born(e.PID); err != nil {
			return err
		}
		if r.plan.Init.Rootfs.Readonly { // CRIU has forgotten it
			if err := makeRootReadonly(e.PID); err != nil {
				return err
			}
		}
		r.c.rec.Ready = true // whoever hears from the processes finds it running
		return r.dir.Save(r.c.rec)
	}
	if e.File != nil {
		e.File.Close()
	}
	return nil
}

// sendTerminal sends the master of init's terminal to who takes it.
func (r *restoration) sendTerminal(master *os.File) error {
	if master == nil {
		return errors.New("criu sent no terminal")
	}
	defer master.Close()
	if r.console == nil {
		return errors.New("the images have a terminal, but process.terminal is false")
	}
	if r.terminal {
		return errors.New("the images have two terminals that nobody holds")
	}
	err := unix.Sendmsg(int(r.console.Fd()), []byte("/dev/ptmx"), unix.UnixRights(int(master.Fd())), nil, unix.MSG_NOSIGNAL)
	if err != nil {
		return fmt.Errorf("console socket: send the terminal: %w", err)
	}
	r.terminal = true
	return nil
}

// born saves the record of the container when its init is there, once.
func (r *restoration) born(pid int) error {
	if r.c == nil {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return fmt.Errorf("open a pidfd of the restored init (pid %d): %w", pid, err)
		}
		r.init = &nsenter.Child{PID: pid, PIDFD: os.NewFile(uintptr(fd), "pidfd of init")}
		r.c = &Container{dir: r.dir, kept: keep(r.plan, r.home.Cgroup, r.group)}
		if err := r.c.record(&r.options.CreateOptions, r.plan, pid); err != nil {
			return err
		}
		k := &r.plan.ForExec
		if !r.plan.Terminal {
			k.Checkpoint.Stdio = givenStdio()
		}
		// CRIU gives the processes a time namespace, so that their clocks go
		// on where they were.
		own, err := sameNamespace("time", pid)
		if err != nil {
			return err
		}
		if !own {
			k.Namespaces |= unix.CLONE_NEWTIME
		}
		return r.c.saveForExec(k)
	}
	if pid != r.init.PID {
		return fmt.Errorf("criu says that the restored init has pid %d, and before that it had %d", pid, r.init.PID)
	}
	return nil
}

// end ends CRIU and what it has restored.
func (r *restoration) end() error {
	var errs []error
	if r.home.Cgroup != nil && r.home.Record().Path != "" {
		errs = append(errs, r.home.Kill())
	}
	if r.criu != nil {
		errs = append(errs, r.criu.Close())
	}
	if r.init != nil {
		errs = append(errs, end(r.init))
	}
	return errors.Join(errs...)
}
