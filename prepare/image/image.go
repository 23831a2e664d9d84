// Package image reads container images where they are: an OCI layout in a
// directory or a tar, what `docker save` writes, a registry, or gourd itself.
//
// It resolves a reference to one image of one platform, whose manifest and
// config it has checked against their digests. Layers are only opened: whoever
// reads one checks its digest, size and diff id (package layer), in the same
// pass. It writes nothing but unnamed temporary files.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument is the largest manifest, index or config that is read, in bytes:
// what registries allow for a manifest, and then some.
const maxDocument = 8 << 20

// ErrNoReference is the error of a reference that names no kind of image which
// this package knows; it may be the name of an imported one.
var ErrNoReference = errors.New("not a reference to an image outside of the store")

// Image is one image of one platform.
type Image struct {
	// ID is the digest of the config: what docker and podman call the image id.
	ID digest.Digest
	// Names are what the source calls it, with a tag: "img:latest".
	Names []string
	// Config is the config's JSON, as its digest has it, and Parsed the same.
	Config []byte
	Parsed ocispec.Image
	// Layers are the layers, the base first.
	Layers []Layer

	close func() error
}

// Close gives back what the source holds open.
func (i *Image) Close() error {
	if i.close == nil {
		return nil
	}
	return i.close()
}

// Layer is a layer's tar, compressed or not.
type Layer struct {
	// DiffID is the digest of the uncompressed tar.
	DiffID digest.Digest
	// Digest and Size are the blob's; "" and -1 where the source has none.
	Digest digest.Digest
	Size   int64
	// MediaType is the blob's; the compression is told by its content.
	MediaType string
	// Open starts reading the blob.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Options are what a source may need.
type Options struct {
	// Platform is which image of an index is taken. The zero value is this
	// machine's.
	Platform ocispec.Platform
	// Hello is the program that builtin:hello runs: the path of gourd.
	Hello string
	// Insecure allows a registry without TLS.
	Insecure bool
}

func (o Options) platform() ocispec.Platform {
	if o.Platform.Architecture == "" {
		return ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	return o.Platform
}

// Open resolves a reference:
//
//	oci:DIR[:REF]  oci-archive:FILE[:REF]  docker-archive:FILE[:REF]
//	docker://HOST/NAME[:TAG|@DIGEST]  builtin:hello  FILE.tar
//
// Anything else is ErrNoReference.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	scheme, rest, _ := strings.Cut(ref, ":")
	switch scheme {
	case "oci":
		return openLayout(rest, o)
	case "oci-archive":
		return openArchive(rest, "oci-archive", o)
	case "docker-archive":
		return openArchive(rest, "docker-archive", o)
	case "builtin":
		return openBuiltin(rest, o)
	case "docker":
		name, ok := strings.CutPrefix(rest, "//")
		if !ok {
			return nil, fmt.Errorf("image %q: a registry's image is docker://HOST/NAME", ref)
		}
		return openRegistry(ctx, name, o)
	case "rootfs":
		return nil, fmt.Errorf("image %q: a root filesystem is no image; it can be prepared, not imported", ref)
	}
	if st, err := os.Stat(ref); err == nil && st.Mode().IsRegular() {
		return openArchive(ref, "", o)
	}
	return nil, fmt.Errorf("image %q: %w", ref, ErrNoReference)
}

// splitRef splits PATH[:REF] at the first colon whose left side exists, so
// that both may hold colons.
func splitRef(s string) (path, ref string, err error) {
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != ':' {
			continue
		}
		if _, err := os.Stat(s[:i]); err == nil && i > 0 {
			if i < len(s) {
				ref = s[i+1:]
			}
			return s[:i], ref, nil
		}
	}
	_, err = os.Stat(s)
	if err == nil {
		err = errors.New("no path")
	}
	return "", "", fmt.Errorf("image: %w", err)
}

// blobs is where the files of a layout or archive are.
type blobs interface {
	// open opens a file, by a slash-separated path; size is its length.
	open(name string) (r io.ReadCloser, size int64, err error)
	Close() error
}

// readDocument reads a whole small file.
func readDocument(b blobs, name string) ([]byte, error) {
	r, size, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("read %s: %d bytes are more than the %d that a document may have", name, size, maxDocument)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// finish checks a config against its digest and the layers against the config.
func finish(config []byte, want digest.Digest, layers []Layer) (*Image, error) {
	i := &Image{Config: config, Layers: layers, ID: digest.FromBytes(config)}
	if want != "" && !verifies(want, config) {
		return nil, fmt.Errorf("image config %s: its content has the digest %s", want, i.ID)
	}
	if want != "" {
		i.ID = want
	}
	if i.ID.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("image config %s: only sha256 digests are supported", i.ID)
	}
	if err := json.Unmarshal(config, &i.Parsed); err != nil {
		return nil, fmt.Errorf("image config %s: %w", i.ID, err)
	}
	if t := i.Parsed.RootFS.Type; t != "layers" {
		return nil, fmt.Errorf("image config %s: rootfs.type is %q, not \"layers\"", i.ID, t)
	}
	ids := i.Parsed.RootFS.DiffIDs
	if len(ids) != len(layers) {
		return nil, fmt.Errorf("image config %s: it has %d diff ids for %d layers", i.ID, len(ids), len(layers))
	}
	for n := range layers {
		if err := ids[n].Validate(); err != nil {
			return nil, fmt.Errorf("image config %s: rootfs.diff_ids[%d] %q: %w", i.ID, n, ids[n], err)
		}
		if ids[n].Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("image config %s: rootfs.diff_ids[%d] %q: only sha256 digests are supported", i.ID, n, ids[n])
		}
		layers[n].DiffID = ids[n]
	}
	return i, nil
}

// verifies tells whether data has the digest d.
func verifies(d digest.Digest, data []byte) bool {
	if d.Validate() != nil {
		return false
	}
	return d.Algorithm().FromBytes(data) == d
}

// tagged returns name with the tag latest, unless it has a tag or digest.
func tagged(name string) string {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if strings.ContainsAny(base, ":@") {
		return name
	}
	return name + ":latest"
}
