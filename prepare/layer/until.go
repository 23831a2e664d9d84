package layer

import (
	"context"
	"io"
)

// Until is a reader that ends with an error when its context has ended.
type Until struct {
	Ctx context.Context
	R   io.Reader
}

// Read reads.
func (u Until) Read(p []byte) (int, error) {
	if err := u.Ctx.Err(); err != nil {
		return 0, err
	}
	return u.R.Read(p)
}
