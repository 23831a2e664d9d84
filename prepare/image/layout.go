// layout.go: an OCI image layout (image-layout.md), in a directory.

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's, which mean the same as OCI's (image-spec, "Compatibility Matrix").
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

func openLayout(s string, o Options) (*Image, error) {
	path, ref, err := splitRef(s)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", path, err)
	}
	return layoutImage(dirBlobs{root}, path, ref, o)
}

// dirBlobs is a directory whose symlinks do not lead outside.
type dirBlobs struct{ root *os.Root }

func (d dirBlobs) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

func (d dirBlobs) Close() error { return d.root.Close() }

// layoutImage opens the image ref of a layout; "" is its only one. It owns b.
func layoutImage(b blobs, path, ref string, o Options) (_ *Image, err error) {
	defer func() {
		if err != nil {
			b.Close()
			err = fmt.Errorf("image %s: %w", path, err)
		}
	}()
	var layout ocispec.ImageLayout
	if err := readJSON(b, ocispec.ImageLayoutFile, &layout); err != nil {
		return nil, fmt.Errorf("not an OCI layout: %w", err)
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return nil, fmt.Errorf("layout version %q is not %s", layout.Version, ocispec.ImageLayoutVersion)
	}
	var index ocispec.Index
	if err := readJSON(b, ocispec.ImageIndexFile, &index); err != nil {
		return nil, err
	}
	desc, err := pick(index.Manifests, ref)
	if err != nil {
		return nil, err
	}
	manifest, err := manifestOf(b, desc, o.platform(), 0)
	if err != nil {
		return nil, err
	}
	img, err := imageOf(b, manifest)
	if err != nil {
		return nil, err
	}
	img.Names = []string{layoutName(path, ref, desc)}
	img.close = b.Close
	return img, nil
}

// pick returns the manifest that the index calls ref.
func pick(all []ocispec.Descriptor, ref string) (ocispec.Descriptor, error) {
	if d, ok := strings.CutPrefix(ref, "@"); ok {
		for _, m := range all {
			if string(m.Digest) == d {
				return m, nil
			}
		}
		return ocispec.Descriptor{}, fmt.Errorf("there is no manifest %s", d)
	}
	var found []ocispec.Descriptor
	var refs []string
	for _, m := range all {
		name := m.Annotations[ocispec.AnnotationRefName]
		refs = append(refs, fmt.Sprintf("%q", name))
		if ref == "" || name == ref {
			if !slices.ContainsFunc(found, func(f ocispec.Descriptor) bool { return f.Digest == m.Digest }) {
				found = append(found, m)
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(all) == 0:
		return ocispec.Descriptor{}, errors.New("the layout holds no image")
	case len(found) == 0:
		return ocispec.Descriptor{}, fmt.Errorf("there is no image %q; there are %s", ref, strings.Join(refs, ", "))
	case ref == "":
		return ocispec.Descriptor{}, fmt.Errorf("there are several images, say which: %s", strings.Join(refs, ", "))
	}
	return ocispec.Descriptor{}, fmt.Errorf("%d images are called %q", len(found), ref)
}

// layoutName is what an image of a layout is called once it is imported: its
// full reference if it has one, else DIR:REF.
func layoutName(path, ref string, d ocispec.Descriptor) string {
	if ref == "" || ref[0] == '@' {
		ref = d.Annotations[ocispec.AnnotationRefName]
	}
	if strings.Contains(ref, "/") || strings.Contains(ref, ":") {
		return tagged(ref)
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	base := strings.ToLower(filepath.Base(path))
	base = strings.TrimSuffix(base, ".tar")
	base = strings.Map(func(r rune) rune {
		if r == ':' || r == '@' || r <= ' ' {
			return '-'
		}
		return r
	}, base)
	if ref == "" {
		return base + ":latest"
	}
	return base + ":" + ref
}

// manifestOf follows indexes down to the manifest of a platform.
func manifestOf(b blobs, d ocispec.Descriptor, p ocispec.Platform, depth int) (*ocispec.Manifest, error) {
	if depth > 4 {
		return nil, errors.New("indexes are nested too deeply")
	}
	data, err := readBlob(b, d)
	if err != nil {
		return nil, err
	}
	kind := d.MediaType
	var probe struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(data, &probe); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	// One document must not be read as both (CVE-2021-41190).
	if probe.Manifests != nil && probe.Layers != nil {
		return nil, fmt.Errorf("manifest %s: it is a manifest and an index at once", d.Digest)
	}
	if probe.MediaType != "" && kind != "" && probe.MediaType != kind {
		return nil, fmt.Errorf("manifest %s: it says that it is a %q, its descriptor a %q", d.Digest, probe.MediaType, kind)
	}
	switch kind {
	case ocispec.MediaTypeImageManifest, dockerManifest:
		var m ocispec.Manifest
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		return &m, nil
	case ocispec.MediaTypeImageIndex, dockerList:
		var index ocispec.Index
		if err := json.Unmarshal(data, &index); err != nil {
			return nil, fmt.Errorf("index %s: %w", d.Digest, err)
		}
		next, err := choose(index.Manifests, p)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", d.Digest, err)
		}
		return manifestOf(b, next, p, depth+1)
	}
	return nil, fmt.Errorf("manifest %s: media type %q is no image", d.Digest, kind)
}

// choose returns the first entry for the platform; an exact variant comes
// before one that does not say.
func choose(all []ocispec.Descriptor, p ocispec.Platform) (ocispec.Descriptor, error) {
	var have []string
	var loose *ocispec.Descriptor
	for i, m := range all {
		if m.Platform == nil {
			if loose == nil && len(all) == 1 {
				loose = &all[i]
			}
			continue
		}
		have = append(have, platformString(*m.Platform))
		if m.Platform.OS != p.OS || m.Platform.Architecture != p.Architecture {
			continue
		}
		if m.Platform.Variant == p.Variant {
			return m, nil
		}
		if loose == nil && (p.Variant == "" || m.Platform.Variant == "") {
			loose = &all[i]
		}
	}
	if loose != nil {
		return *loose, nil
	}
	return ocispec.Descriptor{}, fmt.Errorf("there is no image for %s, only for %s", platformString(p), strings.Join(have, ", "))
}

func platformString(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// imageOf opens config and layers of a manifest.
func imageOf(b blobs, m *ocispec.Manifest) (*Image, error) {
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers are more than the %d that an overlay can stack", len(m.Layers), maxLayers)
	}
	config, err := readBlob(b, m.Config)
	if err != nil {
		return nil, err
	}
	layers := make([]Layer, len(m.Layers))
	for i, d := range m.Layers {
		name, err := blobPath(d.Digest)
		if err != nil {
			return nil, err
		}
		if !layerType(d.MediaType) {
			return nil, fmt.Errorf("layer %s: media type %q is no layer of a root filesystem", d.Digest, d.MediaType)
		}
		layers[i] = Layer{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, Open: func(context.Context) (io.ReadCloser, error) {
			r, size, err := b.open(name)
			if err != nil {
				return nil, err
			}
			if size != d.Size {
				r.Close()
				return nil, fmt.Errorf("layer %s: the blob has %d bytes, its descriptor says %d", d.Digest, size, d.Size)
			}
			return r, nil
		}}
	}
	return finish(config, m.Config.Digest, layers)
}

// maxLayers is OVL_MAX_STACK of the kernel.
const maxLayers = 500

// layerType tells whether a media type is that of a tar layer. What compresses
// it is seen by its first bytes.
func layerType(t string) bool {
	return strings.HasPrefix(t, "application/vnd.oci.image.layer.v1.tar") ||
		strings.HasPrefix(t, "application/vnd.oci.image.layer.nondistributable.v1.tar") ||
		strings.HasPrefix(t, "application/vnd.docker.image.rootfs.diff.tar") ||
		t == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
}

// readBlob reads a small blob and checks its digest and size.
func readBlob(b blobs, d ocispec.Descriptor) ([]byte, error) {
	name, err := blobPath(d.Digest)
	if err != nil {
		return nil, err
	}
	data, err := readDocument(b, name)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != d.Size {
		return nil, fmt.Errorf("blob %s: it has %d bytes, its descriptor says %d", d.Digest, len(data), d.Size)
	}
	if !verifies(d.Digest, data) {
		return nil, fmt.Errorf("blob %s: its content has the digest %s", d.Digest, digest.FromBytes(data))
	}
	return data, nil
}

// blobPath is where a layout has a blob.
func blobPath(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", d, err)
	}
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded(), nil
}

func readJSON(b blobs, name string, v any) error {
	data, err := readDocument(b, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
