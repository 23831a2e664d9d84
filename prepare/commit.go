package prepare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// CommitOptions are how a container becomes an image.
type CommitOptions struct {
	// Names are the image's.
	Names []string
	// Author and Message go into the image's history.
	Author, Message string
	// Time is when the image says that it was made, and no file in the layer
	// is younger. Zero: the time of the youngest file, so that the same
	// changes make the same image.
	Time time.Time
}

// Commit makes an image of a container: its writable layer becomes a layer
// above those it is made of. The same content gives the same digests.
func (p *Preparer) Commit(ctx context.Context, ref string, o CommitOptions) (*store.Image, error) {
	use, err := p.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Unlock()
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	lock, err := p.Store.LockContainer(c.ID)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if m, err := p.Store.ReadMounts(c.ID); err == nil && m.Total() > 0 {
		p.Log.Warn("the container is mounted: what is written meanwhile may be torn", "container", c.Name)
	}
	i, err := p.commit(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("commit container %q: %w", c.Name, err)
	}
	return i, nil
}

func (p *Preparer) commit(ctx context.Context, c *store.Container, o CommitOptions) (*store.Image, error) {
	if c.ImageID == "" {
		return nil, errors.New("it is not made of an image")
	}
	_, img, err := p.Store.ImageConfig(c.ImageID)
	if err != nil {
		return nil, err
	}
	l, err := p.commitLayer(ctx, c, o)
	if err != nil {
		return nil, err
	}
	made := l.found.Youngest
	if !o.Time.IsZero() {
		made = o.Time
	}
	made = made.UTC()
	img.Created = &made
	if o.Author != "" {
		img.Author = o.Author
	}
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, l.DiffID)
	img.History = append(img.History, ocispec.History{Created: &made, CreatedBy: "gourd prepare commit", Author: o.Author, Comment: o.Message})
	config, err := json.Marshal(img)
	if err != nil {
		return nil, err
	}
	keys := append(append([]string{}, c.Layers...), l.Key)
	if err := p.Store.SyncLayers(keys); err != nil {
		return nil, err
	}
	var size int64
	for _, k := range keys {
		have, err := p.Store.Layer(k)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", k, err)
		}
		size += have.Size
	}
	return p.Store.AddImage(store.Image{ID: digest.FromBytes(config), Names: o.Names, Layers: keys, Source: "container:" + c.ID, Size: size}, config)
}

// commitLayer makes a layer of the writable one: it is packed as a tar and
// unpacked again, as if it had been imported, so that its digest is that of
// what is in the store.
func (p *Preparer) commitLayer(ctx context.Context, c *store.Container, o CommitOptions) (m *made, err error) {
	var tmp string
	err = p.withChanges(c, func(upper *os.File, _ []*os.File, skip map[string]bool) error {
		tmp, m, err = p.packLayer(ctx, upper, layer.PackOptions{
			Overlay: p.Store.Overlay, Root: true, Clamp: o.Time, IDs: containerIDs(c),
			Skip: func(name string) bool { return skip[name] },
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	m.Key = store.LayerKey(m.DiffID)
	lock, err := p.Store.LockLayer(m.Key)
	if err != nil {
		return nil, errors.Join(err, p.Store.Discard(tmp))
	}
	defer lock.Unlock()
	if _, err := p.Store.Layer(m.Key); err == nil {
		return m, p.Store.Discard(tmp)
	}
	return m, p.addLayer(tmp, m)
}

// packLayer packs a writable layer and unpacks it into a new one, which is not yet
// in its place.
func (p *Preparer) packLayer(ctx context.Context, upper *os.File, po layer.PackOptions) (tmp string, m *made, err error) {
	pr, pw := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		_, err := layer.Pack(ctx, pw, upper, po)
		pw.CloseWithError(err)
	}()
	tmp, m, err = p.newLayer(pr, layer.Expect{Size: -1}, nil, func(s *layer.Stream, tmp string) (*made, error) {
		return fill(ctx, s, tmp, layer.Options{Overlay: p.Store.Overlay})
	})
	pr.CloseWithError(errors.New("the commit has ended"))
	<-packed
	return tmp, m, err
}
