package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/image"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/overlay"
	"github.com/gourd-oci/gourd/prepare/store"
)

// ImportOptions are how an image is imported.
type ImportOptions struct {
	image.Options
	// Names are what it is called in the store, in place of what its source
	// calls it.
	Names []string
	// Format is the form of its layers: store.FormatDirectory or
	// store.FormatEROFS; "" is the best that this machine has.
	Format string
}

// Import brings an image into the store, or finds it there.
func (p *Preparer) Import(ctx context.Context, ref string, o ImportOptions) (_ *store.Image, err error) {
	defer func() { err = p.afterFull(err) }()
	use, err := p.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Unlock()
	return p.importImage(ctx, ref, o)
}

// afterFull leaves nothing behind of an import for which the disk was too
// small: the layers that it did finish go, too, like all that nothing refers to.
// After any other failure the next import finds them. The store must not be in
// use by the caller; if it is by others, they are left for gc.
func (p *Preparer) afterFull(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	own, lerr := p.Store.TryOwn()
	if own == nil {
		return errors.Join(err, lerr)
	}
	defer own.Unlock()
	return errors.Join(err, p.dropLayers())
}

// importImage is Import for who has the store in use.
func (p *Preparer) importImage(ctx context.Context, ref string, o ImportOptions) (*store.Image, error) {
	if o.Hello == "" {
		o.Hello = p.Gourd
	}
	img, err := image.Open(ctx, ref, o.Options)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	format, err := p.format(o.Format)
	if err != nil {
		return nil, err
	}
	keys, size, err := p.layers(ctx, img, format)
	if err != nil {
		return nil, fmt.Errorf("import %q: %w", ref, err)
	}
	if err := p.Store.SyncLayers(keys); err != nil {
		return nil, fmt.Errorf("import %q: %w", ref, err)
	}
	names := o.Names
	if len(names) == 0 {
		names = img.Names
	}
	return p.Store.AddImage(store.Image{ID: img.ID, Names: names, Layers: keys, Source: ref, Size: size}, img.Config)
}

// layers makes sure of all the layers of an image and returns their keys, the
// base first, and the sum of their sizes.
func (p *Preparer) layers(ctx context.Context, img *image.Image, format string) ([]string, int64, error) {
	if p.Progress != nil {
		defer p.Progress.Stop()
	}
	keys := make([]string, len(img.Layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range img.Layers {
		g.Go(func() error {
			key, err := p.layerAlone(gctx, img.Layers[i], i == 0, format)
			if errors.Is(err, layer.ErrNeedsParents) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("layer %d of %d (%s): %w", i+1, len(img.Layers), img.Layers[i].DiffID, err)
			}
			keys[i] = key
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	// What needs the layers below it comes after them.
	var below []digest.Digest
	var size int64
	for i := range img.Layers {
		if keys[i] == "" {
			var err error
			if keys[i], err = p.layerAbove(ctx, img.Layers[i], keys[:i], below); err != nil {
				return nil, 0, fmt.Errorf("layer %d of %d (%s): %w", i+1, len(img.Layers), img.Layers[i].DiffID, err)
			}
		}
		l, err := p.Store.Layer(keys[i])
		if err != nil {
			return nil, 0, err
		}
		size += l.Size
		below = append(below, img.Layers[i].DiffID)
	}
	return keys, size, nil
}

// layerAlone makes sure of a layer that depends on no other; one that does is
// layer.ErrNeedsParents.
func (p *Preparer) layerAlone(ctx context.Context, l image.Layer, base bool, format string) (string, error) {
	key := store.LayerKey(l.DiffID)
	usable := func() (bool, error) {
		have, err := p.Store.Layer(key)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			p.Log.Warn("a layer cannot be read, it is made anew", "error", err)
			return false, nil
		}
		if have.Implied && !base {
			return false, layer.ErrNeedsParents
		}
		return true, nil
	}
	if ok, err := usable(); ok || err != nil {
		return key, err
	}
	lock, err := p.Store.LockLayer(key)
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if ok, err := usable(); ok || err != nil { // somebody else has made it meanwhile
		return key, err
	}
	return key, p.makeLayer(ctx, l, key, format, layer.Options{Overlay: p.Store.Overlay, Base: base})
}

// layerAbove makes sure of a layer that takes something from those below it.
func (p *Preparer) layerAbove(ctx context.Context, l image.Layer, parents []string, below []digest.Digest) (string, error) {
	key := store.DependentKey(l.DiffID, below)
	lock, err := p.Store.LockLayer(key)
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if _, err := p.Store.Layer(key); err == nil {
		return key, nil
	}
	dirs, err := p.openLayers(parents)
	defer closeAll(dirs)
	if err != nil {
		return "", err
	}
	return key, p.makeLayer(ctx, l, key, store.FormatDirectory, layer.Options{Overlay: p.Store.Overlay, Parents: overlay.Files(dirs)})
}

// makeLayer makes a layer in a format and places it. The layer must be locked.
// One that cannot be indexed is unpacked. A damaged one is replaced.
func (p *Preparer) makeLayer(ctx context.Context, l image.Layer, key, format string, o layer.Options) error {
	if _, err := os.Lstat(p.Store.LayerDir(key)); err == nil {
		if name, err := p.runningOn(key); err != nil || name != "" {
			return errors.Join(err, fmt.Errorf("layer %s is damaged, but container %s runs on it: stop it first", key, name))
		}
	}
	err := p.tryLayer(ctx, l, key, format, o)
	if format == store.FormatEROFS && errors.Is(err, layer.ErrUnsuitable) {
		p.Log.Debug("a layer is unpacked", "layer", l.DiffID, "reason", err)
		return p.tryLayer(ctx, l, key, store.FormatDirectory, o)
	}
	return err
}

func (p *Preparer) tryLayer(ctx context.Context, l image.Layer, key, format string, o layer.Options) (err error) {
	label := l.Digest
	if label == "" {
		label = l.DiffID
	}
	bar := p.bar(fmt.Sprintf("%.12s", label.Encoded()), l.Size)
	defer func() { bar.End(err) }()
	blob, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer blob.Close()
	want := layer.Expect{Digest: l.Digest, Size: l.Size, DiffID: l.DiffID}
	tmp, m, err := p.newLayer(blob, want, func(n int) { bar.Add(n) }, func(s *layer.Stream, tmp string) (*made, error) {
		if format == store.FormatEROFS {
			return index(layer.Until{Ctx: ctx, R: s}, tmp, o)
		}
		return fill(ctx, s, tmp, o)
	})
	if err != nil {
		return err
	}
	m.Key = key
	return p.addLayer(tmp, m)
}
