package cgroups

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/trace"
	"golang.org/x/sys/unix"
)

// Create makes the cgroup of p for the fs manager: its directories, with the
// controllers that are needed enabled on the way, the device program, and the
// limits that cannot stop init itself. A process is born into it by
// CLONE_INTO_CGROUP with FD. undo gets how to remove all of it, processes
// included.
//
// A cgroup that exists is taken only if nothing is in or below it and it is not
// frozen; it is not removed later, unless it is a gourd's own left-over. While the returned Cgroup is open, another
// Create of the same cgroup is refused.
//
// For ManagerNone, and where p.Required is false and the directory may not be
// made, it returns a Cgroup whose FD is -1. The systemd manager's part is
// package cgroups/systemd's.
func Create(p *Plan, undo *cleanup.Stack) (*Cgroup, error) {
	switch p.Manager {
	case ManagerNone:
		c := none()
		if p.Rootless {
			c.unenforced(p, "there is no cgroup v2 on this host")
		}
		return c, nil
	case ManagerSystemd:
		return nil, errors.New("create cgroup: a scope of systemd is made around a process, not before it")
	}
	w := walker{plan: p, want: wanted(p)}
	c, err := w.make()
	if err != nil {
		err = errors.Join(err, removeParents(w.fresh))
		if !p.Required && isDenied(err) {
			c := none()
			c.unenforced(p, "this user may not make a cgroup for it")
			return c, nil
		}
		return nil, fmt.Errorf("create cgroup %s: %w", p.Path, err)
	}
	undo.Add("remove the cgroup "+p.Path, func() error {
		// The Cgroup itself may be closed by now.
		c, err := Open(c.rec)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Kill(); err != nil && !errors.Is(err, ErrNotMade) {
			return err
		}
		return c.Remove()
	})
	if err := c.Prepare(p); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Prepare writes what p has for an open cgroup before a process runs in it: the
// owner, the device program and the early limits. It also checks that the late
// ones will find their controllers. Create has done it; it is for managers that
// get their directory from somebody else.
func (c *Cgroup) Prepare(p *Plan) error {
	defer trace.Begin("set the limits").End()
	if c.absent {
		return nil
	}
	if err := c.checkControllers(p); err != nil {
		return err
	}
	if err := c.attachDevices(p, &p.Devices); err != nil {
		return err
	}
	if err := c.apply(p.Writes); err != nil {
		return err
	}
	if p.Owner <= 0 {
		return nil
	}
	// The spec only says "SHOULD", and a rootless gourd cannot give what it owns
	// to another uid: such a container does without cgroups of its own.
	if err := c.handOver(p.Owner); err != nil && !(p.Rootless && isDenied(err)) {
		return err
	}
	return nil
}

// Late writes the limits that could have stopped init's own set-up.
func (c *Cgroup) Late(p *Plan) error {
	if c.absent || len(p.Late) == 0 {
		return nil
	}
	if err := c.check("limit"); err != nil {
		return err
	}
	return c.apply(p.Late)
}

func none() *Cgroup {
	return &Cgroup{rec: Record{Manager: ManagerNone}, fd: -1, absent: true}
}

// isDenied tells whether err is that of one who has no rights over the
// hierarchy.
func isDenied(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

// errVanished says that a directory on the way was removed meanwhile.
var errVanished = errors.New("a directory on the way was removed")

// walker makes the directories of a path.
type walker struct {
	plan   *Plan
	want   []string // controllers to enable
	made   []string // directories that a gourd made, absolute on the host
	fresh  []string // those that this one has just made
	failed []enableFailure
}

// make walks from the root to the container's cgroup. If another gourd removes
// a parent that has become empty meanwhile it begins again; that this happens
// many times in a row takes an adversary with rights over the parent.
func (w *walker) make() (*Cgroup, error) {
	const tries = 100
	for range tries {
		c, err := w.once()
		if !errors.Is(err, errVanished) {
			return c, err
		}
		if err := removeParents(w.fresh); err != nil {
			return nil, err
		}
		w.made, w.fresh, w.failed = nil, nil, nil
	}
	return nil, fmt.Errorf("%w, %d times: %w", errVanished, tries, unix.ENOENT)
}

func (w *walker) once() (*Cgroup, error) {
	cur, err := openDir(w.plan.Root)
	if err != nil {
		return nil, err
	}
	dir, rest := w.plan.Root, w.plan.Path[1:]
	isNew := false
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		leaf := rest == ""
		f := enable(cur, dir, w.want)
		w.failed = append(w.failed, f...)
		dir = path.Join(dir, name)
		var next int
		next, isNew, err = step(cur, name)
		unix.Close(cur)
		if err != nil {
			return nil, err
		}
		cur = next
		switch {
		case isNew:
			mark(cur, w.plan.For)
			w.made, w.fresh = append(w.made, dir), append(w.fresh, dir)
		case markOf(cur) != "":
			w.made = append(w.made, dir)
		default:
			w.made = nil // gourd removes nothing that is above a foreign directory
		}
		if leaf {
			if err := vet(cur, isNew); err != nil {
				unix.Close(cur)
				return nil, err
			}
		}
	}
	c := &Cgroup{fd: cur, fresh: isNew, enabled: w.failed, rec: Record{
		Path: dir, Root: w.plan.Root, Made: w.made, Manager: ManagerFS,
	}}
	if err := c.identify(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// step makes and opens the directory name below dir.
func step(dir int, name string) (fd int, isNew bool, err error) {
	err = ignoringEINTR(func() error { return unix.Mkdirat(dir, name, 0o755) })
	switch {
	case err == nil:
		isNew = true
	case errors.Is(err, unix.EEXIST):
	case gone(err): // dir itself has been removed
		return -1, false, fmt.Errorf("%w: %w", errVanished, err)
	case isDenied(err):
		// It may exist all the same, if the kernel looks at rights first.
		if fd, openErr := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY); openErr == nil {
			return fd, false, nil
		}
		fallthrough
	default:
		return -1, false, fmt.Errorf("make directory %s: %w", name, explainMkdir(err))
	}
	fd, err = openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) {
		return -1, false, fmt.Errorf("%w: %w", errVanished, err)
	}
	return fd, isNew, err
}

// explainMkdir says what the kernel means (cgroup-v2.rst, "Limiting the Number
// of Descendants").
func explainMkdir(err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w (the cgroup filesystem is mounted so; inside of a container, give that one a writable /sys/fs/cgroup)", err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (this user may not make a cgroup there: let systemd make it, as engines with the cgroup driver systemd do, or the owner delegate one)", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w (cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached)", err)
	}
	return err
}

// vet refuses a cgroup that a container cannot be born into, or that is not
// free. It also locks it against another gourd that would find it free too.
func vet(fd int, isNew bool) error {
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("another container is being created in it: %w", unix.EBUSY)
		}
		return fmt.Errorf("lock: %w", err)
	}
	data, err := readAt(fd, "cgroup.events")
	if gone(err) {
		return fmt.Errorf("%w: %w", errVanished, err)
	}
	if err != nil {
		return err
	}
	if !isNew && flag(data, "populated") {
		return fmt.Errorf("the container's cgroup is not empty, it has processes in it or below it: %w", unix.EBUSY)
	}
	if flag(data, "frozen") {
		return fmt.Errorf("the container's cgroup unexpectedly frozen, or a cgroup above it: %w", unix.EBUSY)
	}
	return vetType(fd)
}

// vetType tells threaded cgroups clearly (cgroup-v2.rst, "Threads").
func vetType(fd int) error {
	data, err := readAt(fd, "cgroup.type")
	if errors.Is(err, unix.ENOENT) {
		return nil // kernels before 4.14
	}
	if err != nil {
		return err
	}
	switch t := strings.TrimSpace(string(data)); t {
	case "domain invalid":
		return fmt.Errorf("it is in a threaded subtree, where no process can be put into a new cgroup (cgroup.type is %q): choose a cgroupsPath outside of that subtree: %w", t, unix.EOPNOTSUPP)
	case "threaded":
		return fmt.Errorf("it is a threaded cgroup, which takes single threads and not a container (cgroup.type is %q): choose another cgroupsPath: %w", t, unix.EOPNOTSUPP)
	}
	return nil
}
