package prepare

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/gourd-oci/gourd/prepare/store"
)

// images finds images that are not whole.
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
