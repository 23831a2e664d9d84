package prepare

import (
	"errors"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// containers finds what is wrong with containers, and in their run directories.
func (c *checker) containers() error {
	s := c.p.Store
	entries, err := os.ReadDir(s.Root + "/containers")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		ctr, err := s.Container(e.Name())
		if err != nil {
			errs = append(errs, c.unused(e.Name(), "container "+e.Name(), err.Error(), "remove its directory", func() error {
				return s.RemoveContainer(e.Name())
			}))
			continue
		}
		errs = append(errs, c.container(ctr))
	}
	return errors.Join(errs...)
}

func (c *checker) container(ctr *store.Container) error {
	p, s := c.p, c.p.Store
	object := "container " + ctr.Name
	lock, half, err := p.halfMade(ctr)
	if err != nil {
		return err
	}
	if half {
		defer lock.Unlock()
		return c.found(object, "it was being made when its process ended", "remove it", func() error { return p.remove(ctr) })
	}
	var errs []error
	for _, k := range ctr.Layers {
		if _, err := s.Layer(k); err != nil || c.bad[k] {
			errs = append(errs, c.found(object, fmt.Sprintf("layer %s is missing", k), "import its image anew", nil))
		}
	}
	l, free, err := s.TryLockContainer(ctr.ID)
	if err != nil || !free {
		return errors.Join(append(errs, err)...)
	}
	defer l.Unlock()
	errs = append(errs, c.copies(object, ctr))
	pid, err := p.process(ctr)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	reset := func() error { return errors.Join(p.clear(ctr), s.WriteMounts(ctr.ID, store.Mounts{})) }
	m, err := s.ReadMounts(ctr.ID)
	if err != nil {
		if pid != 0 {
			reset = func() error { return p.count(ctr, store.Mounts{}, nil) }
		}
		errs = append(errs, c.found(object, err.Error(), "begin to count anew", reset))
		return errors.Join(errs...)
	}
	mounted, err := mountinfo.Mounted(p.rootfs(ctr))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	shm, err := mountinfo.Mounted(p.shm(ctr))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(append(errs, err)...)
	}
	switch {
	case mounted && m.Total() == 0 && pid != 0:
		errs = append(errs, c.found(object, "it runs, but nobody counts its mount", "count it", func() error { return p.count(ctr, m, nil) }))
	case !mounted && pid != 0 && p.Rootless: // it is mounted in a namespace of its own
	case !mounted && m.Total() > 0 && pid != 0:
		errs = append(errs, c.found(object, fmt.Sprintf("it runs (process %d), but its root filesystem was unmounted here", pid), "stop it", nil))
	case mounted && m.Total() == 0:
		errs = append(errs, c.found(object, "it is mounted, but nobody counts on it", "unmount it", reset))
	case !mounted && m.Total() == 0 && shm && pid == 0:
		errs = append(errs, c.found(object, "its /dev/shm is mounted, but nobody counts on it", "unmount it", reset))
	case !mounted && m.Total() > 0:
		errs = append(errs, c.found(object, fmt.Sprintf("it should be mounted %d times, and is not", m.Total()), "begin to count anew", reset))
	}
	return errors.Join(errs...)
}

// copies finds copies into a container that were killed.
func (c *checker) copies(object string, ctr *store.Container) error {
	all, err := c.p.Store.Copying(ctr.ID)
	errs := []error{err}
	for _, beside := range all {
		errs = append(errs, c.found(object, "a copy into it was killed", "remove the file that it has not finished", func() error {
			at := ctr.Rootfs
			mounted, err := mountinfo.Mounted(c.p.rootfs(ctr))
			switch {
			case err != nil:
				return err
			case mounted:
				at = c.p.rootfs(ctr)
			case ctr.Writable:
				at = c.p.Store.ContainerDir(ctr.ID) + "/upper"
			}
			root, err := openPath(at)
			if err != nil {
				return err
			}
			defer root.Close()
			if err := layer.RemoveBeside(root, beside); err != nil {
				return err
			}
			return c.p.Store.Copied(ctr.ID, beside)
		}))
	}
	return errors.Join(errs...)
}

// unused finds what belongs to no container that is known; it is unmounted and
// removed, unless it runs.
func (c *checker) unused(id, object, problem, remedy string, remove func() error) error {
	ctr := &store.Container{ID: id}
	if err := c.p.refuseRunning(ctr); err != nil {
		return c.found(object, problem, "none: "+err.Error(), nil)
	}
	return c.found(object, problem, remedy, func() error {
		if err := c.p.clear(ctr); err != nil {
			return err
		}
		return remove()
	})
}

// runs finds run directories of containers that are gone.
func (c *checker) runs() error {
	s := c.p.Store
	entries, err := os.ReadDir(s.Run)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if _, err := os.Lstat(s.ContainerDir(e.Name())); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		errs = append(errs, c.unused(e.Name(), "run directory "+e.Name(), "its container is gone", "unmount and remove it", func() error {
			run, err := os.Open(s.Run)
			if err != nil {
				return err
			}
			defer run.Close()
			return linux.RemoveTree(int(run.Fd()), e.Name())
		}))
	}
	return errors.Join(errs...)
}
