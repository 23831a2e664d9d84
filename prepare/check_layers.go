package prepare

import (
	"context"
	"errors"
	"os"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// layers finds layers that cannot be used.
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
	got, err := digest.FromReader(layer.Until{Ctx: ctx, R: f})
	if err != nil {
		return err
	}
	if got != want {
		return &layer.DigestError{What: name, Want: want, Got: got}
	}
	return nil
}
