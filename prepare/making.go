// making.go: a stream becomes a layer of the store.

package prepare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// made is a layer in a directory that is to be its place.
type made struct {
	store.Layer
	found *layer.Summary
}

// newLayer makes a layer of a blob, by fill, in a directory of its own, which is
// the caller's: all of the layer is known but its key.
func (p *Preparer) newLayer(blob io.Reader, want layer.Expect, count func(n int), fill func(s *layer.Stream, tmp string) (*made, error)) (dir string, m *made, err error) {
	s, err := layer.NewStream(blob, want, count)
	if err != nil {
		return "", nil, err
	}
	defer s.Close()
	tmp, err := p.Store.Temp()
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Store.Discard(tmp))
		}
	}()
	if m, err = fill(s, tmp); err != nil {
		return "", nil, err
	}
	if err := s.Verify(); err != nil {
		return "", nil, err
	}
	m.DiffID, m.TarSize = s.DiffID(), s.TarSize()
	m.Size, m.Entries = m.found.Size, m.found.Entries
	m.Whiteouts, m.Implied, m.Root = m.found.Whiteouts > 0, m.found.Implied, m.found.Root
	p.tellDropped(m)
	return tmp, m, nil
}

// addLayer places what newLayer has made.
func (p *Preparer) addLayer(tmp string, m *made) error {
	if err := p.Store.AddLayer(tmp, m.Layer); err != nil {
		return errors.Join(err, p.Store.Discard(tmp))
	}
	return nil
}

// fill unpacks a stream into tmp/diff, and describes what is there.
func fill(ctx context.Context, s *layer.Stream, tmp string, o layer.Options) (_ *made, err error) {
	dir := tmp + "/" + diffName
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	o.Contents = true
	found, err := layer.Unpack(ctx, layer.Until{Ctx: ctx, R: s}, root, o)
	if err != nil {
		return nil, err
	}
	manifest, err := os.OpenFile(tmp+"/"+manifestName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, manifest.Close()) }()
	sum, err := layer.WriteManifest(manifest, root, found.Contents)
	return &made{store.Layer{Format: store.FormatDirectory, Sum: sum}, found}, err
}

// tellDropped says what of a layer is not in the store.
func (p *Preparer) tellDropped(m *made) {
	var what []string
	for w := range m.found.Dropped {
		what = append(what, w)
	}
	sort.Strings(what)
	for _, w := range what {
		p.Log.Warn("not taken from the image: "+w, "layer", fmt.Sprintf("%.12s", m.DiffID.Encoded()), "entries", m.found.Dropped[w])
	}
}
