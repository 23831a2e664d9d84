// registry.go: an image of a registry, by go-containerregistry, which speaks
// the protocol, finds the credentials (docker's config.json, or the
// auth.json of podman and skopeo, $REGISTRY_AUTH_FILE first) and checks manifest and config.

package image

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
)

func openRegistry(ctx context.Context, s string, o Options) (*Image, error) {
	var opts []name.Option
	if o.Insecure {
		opts = append(opts, name.Insecure)
	}
	ref, err := name.ParseReference(s, opts...)
	if err != nil {
		return nil, fmt.Errorf("image \"docker://%s\": %w", s, err)
	}
	p := o.platform()
	img, err := remote.Image(ref,
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}),
		remote.WithUserAgent("gourd-prepare"))
	if err != nil {
		return nil, fmt.Errorf("image \"docker://%s\": %w", s, err)
	}
	i, err := registryImage(img)
	if err != nil {
		return nil, fmt.Errorf("image \"docker://%s\": %w", s, err)
	}
	i.Names = []string{ref.Name()}
	return i, nil
}

// registryImage takes what go-containerregistry has of an image.
func registryImage(img v1.Image) (*Image, error) {
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	id, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	blobs, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if len(blobs) > maxLayers {
		return nil, fmt.Errorf("%d layers are more than the %d that an overlay can stack", len(blobs), maxLayers)
	}
	layers := make([]Layer, len(blobs))
	for n, b := range blobs {
		d, err := b.Digest()
		if err != nil {
			return nil, err
		}
		size, err := b.Size()
		if err != nil {
			return nil, err
		}
		kind, err := b.MediaType()
		if err != nil {
			return nil, err
		}
		if !layerType(string(kind)) {
			return nil, fmt.Errorf("layer %s: media type %q is no layer of a root filesystem", d, kind)
		}
		layers[n] = Layer{Digest: digest.Digest(d.String()), Size: size, MediaType: string(kind),
			Open: func(context.Context) (io.ReadCloser, error) { return b.Compressed() }}
	}
	return finish(config, digest.Digest(id.String()), layers)
}
