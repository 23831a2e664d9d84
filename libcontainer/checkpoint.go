package libcontainer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/cgroups"
	"github.com/gourd-oci/gourd/criu"
	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
	"github.com/gourd-oci/gourd/libcontainer/state"
)

// CheckpointOptions is what the command line says of a checkpoint.
type CheckpointOptions struct {
	criu.Options
	// Log takes the warnings of poststop hooks. Nil: nobody.
	Log *slog.Logger
}

// Checkpoint saves the processes of a running or paused container to a
// directory, and deletes the container unless it is to go on. When it fails the
// container goes on as if nothing had been.
func Checkpoint(root, id string, o CheckpointOptions) error {
	if err := o.Check(); err != nil {
		return err
	}
	if err := admitRights("checkpoint"); err != nil {
		return err
	}
	c, err := Load(root, id)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.dir.Lock(); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	frozen, err := c.admitCheckpoint()
	if err != nil {
		return err
	}
	if err := findCRIU("checkpoint"); err != nil {
		return err
	}
	if err := c.warnOfStrangers(discard(o.Log)); err != nil {
		return err
	}
	if err := c.dump(&o); err != nil {
		return errors.Join(err, c.thawAfter(frozen))
	}
	if o.LeaveRunning || o.PreDump {
		return nil
	}
	if err := c.kill(); err != nil { // CRIU has killed all that it has saved
		return err
	}
	return c.remove(discard(o.Log))
}

// admitRights checks that this process may have CRIU do its work.
func admitRights(verb string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root: CRIU cannot save or restore a container with an ordinary user's rights (uid %d)", verb, os.Geteuid())
	}
	initial, err := linux.InInitialUserNS()
	if err != nil {
		return err
	}
	if !initial {
		return fmt.Errorf("%s needs the rights of the host's root: CRIU cannot do without them in a user namespace", verb)
	}
	return nil
}

// findCRIU checks that CRIU is installed.
func findCRIU(verb string) error {
	if _, err := criu.Find(); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// admitCheckpoint checks that the container is in a status to be saved, and
// returns whether it is frozen.
func (c *Container) admitCheckpoint() (frozen bool, err error) {
	status, err := c.Status()
	if err != nil {
		return false, err
	}
	switch status {
	case state.Running, state.Paused:
		if c.landlocked() {
			return false, fmt.Errorf("cannot checkpoint container %q: %w", c.rec.ID, errLandlocked)
		}
		if c.kept.Shared != nil {
			return false, fmt.Errorf("cannot checkpoint container %q: it has no mount namespace of its own, which CRIU wants", c.rec.ID)
		}
	}
	switch status {
	case state.Running:
		return false, nil
	case state.Paused:
		return true, nil
	case state.Stopped:
		return false, fmt.Errorf("cannot checkpoint container %q, which has stopped: %w", c.rec.ID, ErrNotRunning)
	}
	return false, fmt.Errorf("cannot checkpoint container %q, whose program has not been started: it is %s", c.rec.ID, status)
}

// warnOfStrangers tells of processes that are not init's descendants: CRIU does
// not see those that an exec has brought in and that are its children still.
func (c *Container) warnOfStrangers(log *slog.Logger) error {
	pids, err := c.Processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		at := pid
		for at > 1 && at != c.rec.InitPID {
			st, err := linux.ReadProcStat(at)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				at = c.rec.InitPID // it has ended
				break
			}
			if err != nil {
				return err
			}
			at = st.Parent
		}
		if at != c.rec.InitPID {
			log.Warn(fmt.Sprintf("process %d of container %q is not saved, and ends with the container: it is no descendant of init's, as who is brought in by exec", pid, c.rec.ID))
		}
	}
	return nil
}

// dump has CRIU save the container.
func (c *Container) dump(o *CheckpointOptions) error {
	k, err := c.loadForExec()
	if err != nil {
		return err
	}
	dirs, err := openImages(&o.Options, true)
	if err != nil {
		return err
	}
	defer dirs.close()
	if err := checkStatusFD(o.StatusFD); err != nil {
		return err
	}
	path, err := criu.Find()
	if err != nil {
		return err
	}
	if err := criu.Supports(path, &o.Options); err != nil {
		return err
	}
	d, err := c.compileDump(&k.Checkpoint, o.PreDump)
	if err != nil {
		return err
	}
	if !o.PreDump {
		files, err := c.findDescriptors(&k.Checkpoint, o.ShellJob)
		if err != nil {
			return err
		}
		d.External = append(d.External, files.external...)
		if err := files.save(dirs.images); err != nil {
			return err
		}
	}
	req, err := o.Dump(d, int(dirs.images.Fd()), dirs.workFD())
	if err != nil {
		return err
	}
	giveBack, err := keepCgroupOptions(discard(o.Log))
	if err != nil {
		return err
	}
	defer giveBack()
	p, err := criu.Start(criu.Config{Path: path, Cgroup: -1})
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Do(req, func(e criu.Event) error {
		if e.File != nil {
			e.File.Close()
		}
		if e.Name == "status-ready" && o.StatusFD >= 0 {
			return tellReady(o.StatusFD)
		}
		return nil
	})
	if err == nil && !o.PreDump { // after a pre-dump CRIU waits for another, and is not pleased that none comes
		err = p.Wait()
	}
	if err != nil {
		err = errors.Join(err, p.Close()) // so that the log is whole
		return criu.Explain(fmt.Sprintf("checkpoint container %q", c.rec.ID), err, dirs.log, criu.DumpLog)
	}
	return nil
}

// compileDump says what CRIU is to save. Of a pre-dump, which is of memory
// only, it knows no mounts.
func (c *Container) compileDump(k *plan.ForCheckpoint, memory bool) (*criu.Dump, error) {
	d := &criu.Dump{PID: c.rec.InitPID, Root: c.rec.Rootfs, ConfigFile: configFile(c.rec.Annotations)}
	if c.kept.Cgroup.Path != "" {
		d.FreezeCgroup = c.kept.Cgroup.Path
	}
	for _, ns := range k.Joined {
		if err := admitJoined(&ns); err != nil {
			return nil, fmt.Errorf("cannot checkpoint container %q: %w", c.rec.ID, err)
		}
		key, ok := externalNamespaces[ns.Type]
		if !ok {
			continue // saved as if it were the container's, and not used by restore
		}
		// What init has, not what the path may lead to by now.
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", c.rec.InitPID, ns.Type), &st); err != nil {
			return nil, fmt.Errorf("look at the %s namespace of container %q: %w", ns.Type, c.rec.ID, err)
		}
		d.External = append(d.External, fmt.Sprintf("%s[%d]:%s", ns.Type, st.Ino, key))
	}
	if memory {
		return d, nil
	}
	var err error
	d.Mounts, err = c.externalMounts(&k.External)
	return d, err
}

// externalMounts returns the mounts that are not the container's own. A bind
// mount is called after its destination in the config, where restore finds its
// source; one of /dev/null after that.
func (c *Container) externalMounts(e *rootfs.External) ([]criu.Mount, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", c.rec.InitPID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root of container %q: %w", c.rec.ID, err)
	}
	defer unix.Close(root)
	var list []criu.Mount
	add := func(path, name string, files bool) error {
		place, mode, err := placeIn(root, path)
		if errors.Is(err, fs.ErrNotExist) || err == unix.ENOTDIR {
			return nil // the container has unmounted it, or never had what to mask
		}
		if err != nil {
			return fmt.Errorf("look at %s of container %q: %w", path, c.rec.ID, err)
		}
		if files && mode&unix.S_IFMT == unix.S_IFDIR {
			return nil // a tmpfs of the container's own
		}
		list = append(list, criu.Mount{Key: place, Value: name})
		return nil
	}
	for _, p := range slices.Concat(e.Binds, e.Devices) {
		if err := add(p, p, false); err != nil {
			return nil, err
		}
	}
	for _, p := range e.Masked {
		if err := add(p, "/dev/null", true); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// placeIn returns where path leads in the root directory root of another mount
// namespace, as CRIU finds it in the namespace's table, and what is there.
func placeIn(root int, path string) (place string, mode uint32, err error) {
	fd, err := linux.OpenInRoot(root, path, unix.O_PATH, 0)
	if err != nil {
		return "", 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", 0, err
	}
	place, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return place, st.Mode, err
}

// thawAfter lets a container go on that a CRIU which was ended half-way has
// left frozen.
func (c *Container) thawAfter(wasFrozen bool) error {
	if wasFrozen {
		return nil
	}
	cg, err := cgroups.Open(c.kept.Cgroup)
	if err != nil {
		return err
	}
	defer cg.Close()
	frozen, err := cg.Frozen()
	if err != nil || !frozen {
		return err
	}
	return cg.Thaw()
}

// checkStatusFD checks that the caller passed the fd and that it can be written
// to. gourd's own are close-on-exec.
func checkStatusFD(fd int) error {
	if fd < 0 {
		return nil
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err == nil && flags&unix.FD_CLOEXEC != 0 {
		err = unix.EBADF
	}
	if err == nil {
		if flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY {
			err = errors.New("it is not open for writing")
		}
	}
	if err != nil {
		return fmt.Errorf("--status-fd %d: %w", fd, err)
	}
	unix.CloseOnExec(fd) // CRIU is not to keep it open
	return nil
}

// tellReady tells whoever waits at the fd that the pages can be asked for.
func tellReady(fd int) error {
	_, err := unix.Write(fd, []byte{0})
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("--status-fd %d: %w", fd, err)
	}
	return nil
}

// images are the directories that CRIU works in.
type images struct {
	images *os.File
	work   *os.File // nil: the images'
	log    string   // where CRIU's log is
}

// openImages opens them, and makes them first for a dump.
func openImages(o *criu.Options, dump bool) (_ *images, err error) {
	d := &images{log: o.ImagePath}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if dump {
		if err := os.MkdirAll(o.ImagePath, 0o700); err != nil {
			return nil, fmt.Errorf("--image-path: %w", err)
		}
	}
	if d.images, err = openDirectory(o.ImagePath); err != nil {
		return nil, fmt.Errorf("--image-path: %w", err)
	}
	if o.ParentPath != "" {
		f, err := openDirectory(filepath.Join(o.ImagePath, o.ParentPath))
		if err != nil {
			return nil, fmt.Errorf("--parent-path %s: %w", o.ParentPath, err)
		}
		f.Close()
	}
	if o.WorkPath != "" {
		if err := os.MkdirAll(o.WorkPath, 0o700); err != nil {
			return nil, fmt.Errorf("--work-path: %w", err)
		}
		if d.work, err = openDirectory(o.WorkPath); err != nil {
			return nil, fmt.Errorf("--work-path: %w", err)
		}
		d.log = o.WorkPath
	}
	return d, nil
}

func openDirectory(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// open lets everybody read the images through the fd that CRIU gets: their
// directory is root's alone, but part of a restore is done in the container's
// new user namespace, by a process that is the host's root to begin with and
// the container's later. The caller is in a mount namespace of its own, and
// nobody else sees this.
func (d *images) open() error {
	place := d.images.Name()
	if err := unix.Mount("tmpfs", place, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("--image-path %s: cover it for criu: %w", place, err)
	}
	merged := filepath.Join(place, "merged")
	top := filepath.Join(place, "top")
	if err := errors.Join(os.Mkdir(merged, 0o700), os.Mkdir(top, 0o755), os.Chmod(top, 0o755)); err != nil { // whatever the umask
		return err
	}
	upper, err := openDirectory(top)
	if err != nil {
		return err
	}
	defer upper.Close()
	// The directory itself is that of the upper one, with its mode.
	layers := fmt.Sprintf("lowerdir=/proc/self/fd/%d:/proc/self/fd/%d", upper.Fd(), d.images.Fd())
	if err := unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, layers); err != nil {
		return fmt.Errorf("--image-path %s: mount an overlay of it for criu: %w", place, err)
	}
	f, err := openDirectory(merged)
	if err != nil {
		return err
	}
	if d.work == nil {
		d.work = d.images // for the log, as before
	} else {
		d.images.Close()
	}
	d.images = f
	return nil
}

func (d *images) workFD() int {
	if d.work == nil {
		return -1
	}
	return int(d.work.Fd())
}

func (d *images) close() {
	for _, f := range []*os.File{d.images, d.work} {
		if f != nil {
			f.Close()
		}
	}
}
