// archive.go: a layout or the output of `docker save` in one tar file.

package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/gourd-oci/gourd/prepare/compression"
)

// openArchive opens FILE[:REF]. kind is "oci-archive", "docker-archive", or ""
// for whichever it is.
func openArchive(s, kind string, o Options) (*Image, error) {
	file, ref, err := splitRef(s)
	if err != nil {
		return nil, err
	}
	b, err := indexTar(file)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", file, err)
	}
	// `docker save` writes both forms; its own has the names.
	if kind == "" {
		switch {
		case b.has("manifest.json"):
			kind = "docker-archive"
		case b.has(ocispec.ImageLayoutFile):
			kind = "oci-archive"
		default:
			b.Close()
			return nil, fmt.Errorf("image %s: it has neither a manifest.json (docker save) nor an oci-layout", file)
		}
	}
	if kind == "docker-archive" {
		return dockerImage(b, file, ref)
	}
	return layoutImage(b, file, ref, o)
}

// tarBlobs is a tar file with the places of its members.
type tarBlobs struct {
	file    *os.File
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // a symlink or hard link to another member
}

// indexTar reads the headers of a tar. A compressed one is unpacked to an
// unnamed file first: members are read in any order, and several at once.
func indexTar(name string) (_ *tarBlobs, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	plain, err := uncompressed(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	b := &tarBlobs{file: plain, members: map[string]member{}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	r := tar.NewReader(b.file)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read tar: %w", err)
		}
		at, err := b.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		m := member{offset: at, size: h.Size}
		key := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			// docker's old form links one layer.tar to another's
			m = member{link: path.Join("/", path.Dir(key), h.Linkname)[1:]}
		case tar.TypeLink:
			m = member{link: path.Clean("/" + h.Linkname)[1:]}
		default:
			continue
		}
		b.members[key] = m
	}
}

// uncompressed returns a file as it is, or unpacked to one without a name, in
// TMPDIR. Only with an error f stays the caller's.
func uncompressed(f *os.File) (*os.File, error) {
	in := bufio.NewReaderSize(f, 256<<10)
	plain, stop, err := compression.NewReader(in)
	if err != nil {
		return nil, err
	}
	defer stop()
	if plain == io.Reader(in) {
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	}
	out, err := os.CreateTemp("", "gourd-prepare-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(out.Name())
	if err == nil {
		_, err = io.Copy(out, plain)
	}
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("unpack: %w", err)
	}
	f.Close() // it was only read
	return out, nil
}

func (b *tarBlobs) has(name string) bool { _, ok := b.members[name]; return ok }

func (b *tarBlobs) open(name string) (io.ReadCloser, int64, error) {
	key := path.Clean("/" + name)[1:]
	for range 8 {
		m, ok := b.members[key]
		if !ok {
			return nil, 0, &fs.PathError{Op: "open in tar", Path: name, Err: fs.ErrNotExist}
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(b.file, m.offset, m.size)), m.size, nil
		}
		key = m.link
	}
	return nil, 0, &fs.PathError{Op: "open in tar", Path: name, Err: errors.New("too many links")}
}

func (b *tarBlobs) Close() error { return b.file.Close() }

// dockerImage opens an image of a docker-archive, whose layers have no digest
// but their diff ids. It owns b.
func dockerImage(b *tarBlobs, file, ref string) (_ *Image, err error) {
	defer func() {
		if err != nil {
			b.Close()
			err = fmt.Errorf("image %s: %w", file, err)
		}
	}()
	var all []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := readJSON(b, "manifest.json", &all); err != nil {
		return nil, err
	}
	var tags []string
	chosen := -1
	for i, m := range all {
		tags = append(tags, m.RepoTags...)
		if ref != "" && (slices.Contains(m.RepoTags, ref) || slices.Contains(m.RepoTags, tagged(ref)) || configID(m.Config) == strings.TrimPrefix(ref, "sha256:")) {
			chosen = i
			break
		}
	}
	switch {
	case ref == "" && len(all) == 1:
		chosen = 0
	case ref == "" && len(all) > 1:
		return nil, fmt.Errorf("there are several images, say which: %s", strings.Join(tags, ", "))
	case len(all) == 0:
		return nil, errors.New("it holds no image")
	case chosen < 0:
		return nil, fmt.Errorf("there is no image %q; there are %s", ref, strings.Join(tags, ", "))
	}
	m := all[chosen]
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers are more than the %d that an overlay can stack", len(m.Layers), maxLayers)
	}
	config, err := readDocument(b, m.Config)
	if err != nil {
		return nil, err
	}
	layers := make([]Layer, len(m.Layers))
	for i, name := range m.Layers {
		_, size, err := b.open(name)
		if err != nil {
			return nil, err
		}
		layers[i] = Layer{Size: size, MediaType: ocispec.MediaTypeImageLayer, Open: func(context.Context) (io.ReadCloser, error) {
			r, _, err := b.open(name)
			return r, err
		}}
	}
	// The config is named for its digest.
	var want digest.Digest
	if id := configID(m.Config); digest.NewDigestFromEncoded(digest.SHA256, id).Validate() == nil {
		want = digest.NewDigestFromEncoded(digest.SHA256, id)
	}
	img, err := finish(config, want, layers)
	if err != nil {
		return nil, err
	}
	for _, t := range m.RepoTags {
		img.Names = append(img.Names, tagged(t))
	}
	if len(img.Names) == 0 {
		img.Names = []string{layoutName(file, "", ocispec.Descriptor{})}
	}
	img.close = b.Close
	return img, nil
}

// configID is the hex digest in the name of a config: HEX.json, or
// blobs/sha256/HEX since Docker 25.
func configID(name string) string {
	return strings.TrimSuffix(path.Base(name), ".json")
}
