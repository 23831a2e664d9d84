package prepare

import (
	"context"

	"github.com/gourd-oci/gourd/prepare/store"
)

func (p *Preparer) lease(c *store.Container, o *CreateOptions) error { return nil }
func (p *Preparer) release(c *store.Container) error                 { return nil }
func (p *Preparer) hooks(ctx context.Context, doc []byte, dirs []string) ([]byte, error) {
	return doc, nil
}
