package prepare

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/lease"
	"github.com/gourd-oci/gourd/prepare/store"
)

// Problem is something that is not as it should be.
type Problem struct {
	// Object is what it is about: "layer KEY", "container NAME".
	Object  string `json:"object"`
	Problem string `json:"problem"`
	// Repaired says that it has been mended.
	Repaired bool `json:"repaired"`
	// Remedy is what was or would be done.
	Remedy string `json:"remedy"`
}

// CheckOptions are how thorough a check is.
type CheckOptions struct {
	// Repair mends what can be mended.
	Repair bool
	// Deep reads the layers, too, and compares all of it with what was imported.
	Deep bool
	// Import are the options for importing anew what is damaged.
	Import ImportOptions
}

// checker is one run of Check.
type checker struct {
	p   *Preparer
	o   CheckOptions
	ctx context.Context
	out []Problem
	bad map[string]bool // keys of layers that cannot be used
}

// found notes a problem and, if asked to, mends it.
func (c *checker) found(object, problem, remedy string, mend func() error) error {
	pr := Problem{Object: object, Problem: problem, Remedy: remedy}
	if c.o.Repair && mend != nil {
		if err := mend(); err != nil {
			c.out = append(c.out, pr)
			return fmt.Errorf("repair %s: %w", object, err)
		}
		pr.Repaired = true
	}
	c.out = append(c.out, pr)
	return nil
}

// Check looks at all of the store, and mends it if asked to. It waits until
// nobody uses the store. What could not be mended is in the error.
func (p *Preparer) Check(ctx context.Context, o CheckOptions) ([]Problem, error) {
	own, err := p.Store.Own()
	if err != nil {
		return nil, err
	}
	defer own.Unlock()
	c := &checker{p: p, o: o, ctx: ctx, bad: map[string]bool{}}
	var errs []error
	for _, f := range []func() error{c.temp, c.layers, c.images, c.containers, c.runs, c.leases} {
		errs = append(errs, f())
	}
	return c.out, errors.Join(errs...)
}

// temp finds what was being made or removed: nobody else has the store.
func (c *checker) temp() error {
	entries, err := os.ReadDir(c.p.Store.Root + "/tmp")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := c.p.Store.Root + "/tmp/" + e.Name()
		errs = append(errs, c.found("tmp "+e.Name(), "it was being made or removed when its process ended", "remove it", func() error {
			return c.p.Store.Discard(name)
		}))
	}
	for _, part := range []string{"images", "containers"} {
		left, err := filepath.Glob(c.p.Store.Root + "/" + part + "/*/*.new-*")
		if err != nil {
			return err
		}
		for _, name := range left {
			errs = append(errs, c.found("file "+name, "it was being written when its process ended", "remove it", func() error { return os.Remove(name) }))
		}
	}
	return errors.Join(errs...)
}

func (c *checker) layers() error {
	s := c.p.Store
	entries, err := os.ReadDir(s.Root + "/layers")
	if err != nil {
		return err
	}
	var errs []error
	var unsynced []string
	for _, e := range entries {
		key := e.Name()
		drop := func() error { return s.Discard(s.LayerDir(key)) }
		l, err := s.Layer(key)
		if err == nil {
			err = c.p.layerWhole(c.ctx, l, c.o.Deep)
		}
		switch {
		case c.ctx.Err() != nil:
			return errors.Join(append(errs, c.ctx.Err())...)
		case unseen(err):
			errs = append(errs, c.found("layer "+key, err.Error(), "none: it could not be looked at", nil))
			continue
		case err != nil:
			c.bad[key] = true
			errs = append(errs, c.damaged(key, err.Error(), drop))
			continue
		}
		unsynced = append(unsynced, key)
	}
	// A killed import leaves whole layers that are not known to be on disk.
	if c.o.Repair {
		errs = append(errs, s.SyncLayers(unsynced))
	}
	return errors.Join(errs...)
}

// unseen tells whether an error says nothing about what was looked at.
func unseen(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM, unix.EACCES, unix.ENOSYS, unix.ENODEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// damaged notes a layer that cannot be used, which is removed unless a container
// runs on it.
func (c *checker) damaged(key, problem string, drop func() error) error {
	name, err := c.p.runningOn(key)
	if err != nil {
		return errors.Join(err, c.found("layer "+key, problem, "none: it is not known whether a container runs on it", nil))
	}
	if name != "" {
		return c.found("layer "+key, problem, "stop container "+name+", which runs on it", nil)
	}
	return c.found("layer "+key, problem, "remove it", drop)
}

// layerWhole checks that a layer is all there; deep compares what is there
// with what was made of the image.
func (p *Preparer) layerWhole(ctx context.Context, l *store.Layer, deep bool) error {
	d, err := p.openLayer(l)
	if err != nil {
		return err
	}
	defer d.Close()
	if !deep {
		return nil
	}
	dir := p.Store.LayerDir(l.Key)
	if l.Sum == "" {
		return errors.New("nothing is kept to compare it with: another version has made it")
	}
	if l.Format == store.FormatEROFS {
		if err := hashes(ctx, dir+"/"+indexName, l.Sum); err != nil {
			return err
		}
		return hashes(ctx, dir+"/"+tarName, l.DiffID)
	}
	manifest, err := os.Open(dir + "/" + manifestName)
	if err != nil {
		return err
	}
	defer manifest.Close()
	return layer.Verify(ctx, manifest, l.Sum, d.File)
}

// hashes checks the digest of a file.
func hashes(ctx context.Context, name string, want digest.Digest) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := digest.FromReader(stopReader{ctx, f})
	if err != nil {
		return err
	}
	if got != want {
		return &layer.DigestError{What: name, Want: want, Got: got}
	}
	return nil
}

func (c *checker) images() error {
	s := c.p.Store
	entries, err := os.ReadDir(s.Root + "/images")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		id := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if id.Validate() != nil {
			errs = append(errs, c.found("image "+e.Name(), "its name is no digest", "remove it", func() error { return s.Discard(s.Root + "/images/" + e.Name()) }))
			continue
		}
		i, why := c.image(id)
		if why == "" {
			continue
		}
		errs = append(errs, c.found("image "+e.Name(), why, "import it anew, or remove it", func() error { return c.reimport(id, i) }))
	}
	return errors.Join(errs...)
}

// image tells what is wrong with an image; "": nothing.
func (c *checker) image(id digest.Digest) (*store.Image, string) {
	i, err := c.p.Store.ImageByID(id)
	if err != nil {
		return nil, err.Error()
	}
	if _, _, err := c.p.Store.ImageConfig(id); err != nil {
		return i, err.Error()
	}
	for _, k := range i.Layers {
		if _, err := c.p.Store.Layer(k); err != nil || c.bad[k] {
			return i, fmt.Sprintf("layer %s is missing", k)
		}
	}
	return i, ""
}

// reimport makes an image whole from where it came from; if that does not give
// the same image, it is removed.
func (c *checker) reimport(id digest.Digest, i *store.Image) error {
	if i != nil {
		o := c.o.Import
		o.Names = i.Names
		again, err := c.p.importImage(c.ctx, i.Source, o)
		if err == nil && again.ID == id {
			return nil
		}
		c.p.Log.Warn("an image is removed: its source does not give it any more", "image", strings.Join(i.Names, ","), "source", i.Source, "error", err)
	}
	return c.p.Store.Discard(c.p.Store.ImageDir(id))
}

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

func (c *checker) leases() error {
	all, err := c.p.leases().All()
	if err != nil {
		return c.found("leases", err.Error(), "none: the file must be looked at", nil)
	}
	var errs []error
	errs = append(errs, c.addresses(all))
	for _, l := range all {
		if !c.p.gone(l.ID) {
			continue
		}
		errs = append(errs, c.found("lease "+l.Address.String(), "its container "+l.Name+" is gone", "give it back", func() error {
			return c.p.leases().Release(func(id string) bool { return id == l.ID })
		}))
	}
	return errors.Join(errs...)
}

// addresses finds containers that have an address but no lease of it.
func (c *checker) addresses(all []lease.Lease) error {
	containers, err := c.p.Store.Containers()
	if err != nil {
		return err
	}
	var errs []error
	for _, ctr := range containers {
		has := func(l lease.Lease) bool { return l.ID == ctr.ID && l.Address.String() == ctr.Address }
		if ctr.Address == "" || slices.ContainsFunc(all, has) {
			continue
		}
		problem := "it has no lease of its address " + ctr.Address
		other := slices.IndexFunc(all, func(l lease.Lease) bool { return l.Address.String() == ctr.Address && !c.p.gone(l.ID) })
		if other >= 0 {
			errs = append(errs, c.found("container "+ctr.Name, problem+", which container "+all[other].Name+" has", "none: one of the two must be made anew", nil))
			continue
		}
		errs = append(errs, c.found("container "+ctr.Name, problem, "lease it", func() error {
			a, err := netip.ParseAddr(ctr.Address)
			if err != nil {
				return err
			}
			return c.p.leases().Claim(a, ctr.Name, ctr.ID, c.p.gone)
		}))
	}
	return errors.Join(errs...)
}

// Garbage is what GC has removed or would remove.
type Garbage struct {
	Layers []string `json:"layers"`
	Images []string `json:"images"`
	Temp   int      `json:"temporary"`
	Locks  int      `json:"locks"`
	Bytes  int64    `json:"bytes"`
}

// GC removes what nothing refers to: layers of no image and no container, what
// was being made when its process ended, and with images those that have no
// name and no container.
func (p *Preparer) GC(images, dry bool) (*Garbage, error) {
	own, err := p.Store.Own()
	if err != nil {
		return nil, err
	}
	defer own.Unlock()
	g := &Garbage{Layers: []string{}, Images: []string{}}
	if images {
		if err := p.gcImages(g, dry); err != nil {
			return g, err
		}
	}
	if g.Layers, err = p.unusedLayers(g.Images...); err != nil {
		return g, err
	}
	if g.Layers == nil {
		g.Layers = []string{}
	}
	for _, k := range g.Layers {
		if l, err := p.Store.Layer(k); err == nil {
			g.Bytes += l.Size
		}
		if !dry {
			if err := p.Store.Discard(p.Store.LayerDir(k)); err != nil {
				return g, err
			}
		}
	}
	tmp, err := os.ReadDir(p.Store.Root + "/tmp")
	if err != nil {
		return g, err
	}
	g.Temp = len(tmp)
	// Whoever takes the lock of a layer uses the store: nobody does.
	locks, err := filepath.Glob(p.Store.Root + "/locks/layer-*")
	if err != nil {
		return g, err
	}
	g.Locks = len(locks)
	if dry {
		return g, nil
	}
	var errs []error
	for _, e := range tmp {
		errs = append(errs, p.Store.Discard(p.Store.Root+"/tmp/"+e.Name()))
	}
	for _, l := range locks {
		errs = append(errs, os.Remove(l))
	}
	return g, errors.Join(errs...)
}

func (p *Preparer) gcImages(g *Garbage, dry bool) error {
	all, err := p.Store.Images()
	if err != nil {
		return err
	}
	containers, err := p.Store.Containers()
	if err != nil {
		return err
	}
	for _, i := range all {
		if len(i.Names) > 0 || slices.ContainsFunc(containers, func(c store.Container) bool { return c.ImageID == i.ID }) {
			continue
		}
		g.Images = append(g.Images, i.ID.Encoded())
		if !dry {
			if err := p.Store.RemoveImage(i.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Refreshed is what Refresh says of a container.
type Refreshed struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Ready bool   `json:"ready"` // it can be mounted
	Error string `json:"error,omitempty"`
}

// Refresh brings the containers back after a reboot: their run directories,
// counts and files are made anew. They are not mounted.
func (p *Preparer) Refresh() ([]Refreshed, error) {
	all, err := p.Store.Containers()
	if err != nil {
		return nil, err
	}
	out := []Refreshed{}
	for i := range all {
		r := Refreshed{Name: all[i].Name, ID: all[i].ID}
		if err := p.refresh(&all[i]); err != nil {
			r.Error = err.Error()
		} else {
			r.Ready = true
		}
		out = append(out, r)
	}
	return out, nil
}

func (p *Preparer) refresh(c *store.Container) error {
	lock, err := p.Store.LockContainer(c.ID)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, err := os.Lstat(p.Store.Bundle(c.ID) + "/config.json"); err != nil {
		return err
	}
	for _, k := range c.Layers {
		if _, err := p.Store.Layer(k); err != nil {
			return fmt.Errorf("layer %s: %w", k, err)
		}
	}
	mounted, err := mountinfo.Mounted(p.rootfs(c))
	if err != nil {
		return err
	}
	m, err := p.Store.ReadMounts(c.ID)
	if err == nil && mounted && m.Total() > 0 {
		return nil // it is up
	}
	if err := p.refuseRunning(c); err != nil {
		return err
	}
	if err := p.clear(c); err != nil {
		return err
	}
	if err := p.writeFiles(c); err != nil {
		return err
	}
	return p.Store.WriteMounts(c.ID, store.Mounts{})
}
