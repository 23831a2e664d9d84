// builtin.go: the image that is always there.

package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// openBuiltin makes builtin:hello, an image of one layer that holds gourd
// alone, which prints what it sees. It needs no network and no file but gourd.
func openBuiltin(name string, o Options) (*Image, error) {
	if name != "hello" {
		return nil, fmt.Errorf("image %q: the only image built in is builtin:hello", "builtin:"+name)
	}
	if o.Hello == "" {
		return nil, errors.New("image \"builtin:hello\": gourd was not found, which it is made of")
	}
	program, err := os.ReadFile(o.Hello)
	if err != nil {
		return nil, fmt.Errorf("image \"builtin:hello\": %w", err)
	}
	layer, err := helloLayer(program)
	if err != nil {
		return nil, err
	}
	p := o.platform()
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: p.Architecture, OS: p.OS},
		Config: ocispec.ImageConfig{
			Entrypoint: []string{"/gourd", "hello"},
			WorkingDir: "/",
			Env:        []string{"PATH=/"},
		},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
	})
	if err != nil {
		return nil, err
	}
	img, err := finish(config, "", []Layer{{
		Digest: digest.FromBytes(layer), Size: int64(len(layer)), MediaType: ocispec.MediaTypeImageLayer,
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil },
	}})
	if err != nil {
		return nil, err
	}
	img.Names = []string{"builtin:hello"}
	return img, nil
}

// helloLayer is the tar of the layer. It depends on the program alone, so that
// the image keeps its id.
func helloLayer(program []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	epoch := time.Unix(0, 0)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch},
		{Name: "gourd", Typeflag: tar.TypeReg, Mode: 0o755, ModTime: epoch, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
