// images.go: imported images and their names.

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what image.json says.
type Image struct {
	ID    digest.Digest `json:"id"`
	Names []string      `json:"names"`
	// Layers are the keys of its layers, the base first.
	Layers []string `json:"layers"`
	// Source is the reference it was imported from.
	Source   string    `json:"source"`
	Imported time.Time `json:"imported"`
	// Size is the sum of the sizes of the files of its layers, in bytes.
	Size int64 `json:"size"`
}

// ImageDir is where an image is.
func (s *Store) ImageDir(id digest.Digest) string { return s.Root + "/images/" + id.Encoded() }

// Images returns all images, the oldest first.
func (s *Store) Images() ([]Image, error) {
	ids, err := s.ids("images")
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, id := range ids {
		if !validHex(id) {
			continue
		}
		i, err := s.image(id)
		if isGone(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, *i)
	}
	sort.Slice(all, func(a, b int) bool { return all[a].Imported.Before(all[b].Imported) })
	return all, nil
}

// ImageByID reads an image's metadata.
func (s *Store) ImageByID(id digest.Digest) (*Image, error) { return s.image(id.Encoded()) }

func (s *Store) image(hex string) (*Image, error) {
	var i Image
	if err := readJSON(s.Root+"/images/"+hex+"/image.json", &i); err != nil {
		return nil, err
	}
	if i.ID.Encoded() != hex {
		return nil, fmt.Errorf("image %s: image.json is of %s", hex, i.ID)
	}
	return &i, nil
}

// ImageConfig reads an image's config and checks its digest.
func (s *Store) ImageConfig(id digest.Digest) (raw []byte, parsed *ocispec.Image, err error) {
	if raw, err = os.ReadFile(s.ImageDir(id) + "/config.json"); err != nil {
		return nil, nil, err
	}
	if got := digest.FromBytes(raw); got != id {
		return nil, nil, fmt.Errorf("image %s: config.json has the digest %s", id, got)
	}
	parsed = new(ocispec.Image)
	if err := json.Unmarshal(raw, parsed); err != nil {
		return nil, nil, fmt.Errorf("image %s: config.json: %w", id, err)
	}
	return raw, parsed, nil
}

// FindImage finds an image by name, id, or unambiguous start of an id. A name
// may lack the tag latest and the parts that docker and podman add.
func (s *Store) FindImage(ref string) (*Image, error) {
	if ref == "" {
		return nil, errors.New("image: the name is empty")
	}
	all, err := s.Images()
	if err != nil {
		return nil, err
	}
	for _, name := range NameCandidates(ref) {
		var found *Image
		for i := range all {
			// A crash can leave a name at two images: the later one has it.
			if slices.Contains(all[i].Names, name) && (found == nil || found.Imported.Before(all[i].Imported)) {
				found = &all[i]
			}
		}
		if found != nil {
			return found, nil
		}
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID.Encoded()
	}
	id, err := match(ref, ids)
	switch {
	case err == nil:
		return s.image(id)
	case errors.Is(err, ErrAmbiguous):
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	return nil, fmt.Errorf("image %q: %w", ref, ErrNoImage)
}

// NameCandidates are the full names that a short one may mean.
func NameCandidates(ref string) []string {
	tagged := ref
	if base := ref[strings.LastIndexByte(ref, '/')+1:]; !strings.ContainsAny(base, ":@") {
		tagged += ":latest"
	}
	c := []string{ref, tagged}
	for _, prefix := range []string{"localhost/", "docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/"} {
		c = append(c, prefix+tagged)
	}
	return c
}

// AddImage places an image, or adds the names to it if it is there. A name that
// another image has moves. The store must be in use, and the layers there.
func (s *Store) AddImage(i Image, config []byte) (*Image, error) {
	for _, n := range i.Names {
		if err := validImageName(n); err != nil {
			return nil, err
		}
	}
	l, err := s.lockNames()
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	i.Imported = time.Now().UTC()
	have, err := s.image(i.ID.Encoded())
	switch {
	case err == nil:
		for _, n := range have.Names {
			if !slices.Contains(i.Names, n) {
				i.Names = append(i.Names, n)
			}
		}
		if err := writeJSON(s.ImageDir(i.ID)+"/image.json", i); err != nil {
			return nil, err
		}
	default:
		if err := s.placeImage(i, config); err != nil {
			return nil, err
		}
	}
	return &i, s.takeNames(i)
}

func (s *Store) placeImage(i Image, config []byte) (err error) {
	tmp, err := s.Temp()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Discard(tmp))
		}
	}()
	if err := WriteFile(tmp+"/config.json", config, 0o600); err != nil {
		return err
	}
	if err := writeJSON(tmp+"/image.json", i); err != nil {
		return err
	}
	dir := s.ImageDir(i.ID)
	if _, err := os.Lstat(dir); err == nil { // there, but not readable
		if err := s.Discard(dir); err != nil {
			return err
		}
	}
	return s.place(tmp, dir)
}

// takeNames takes the names of an image from all others.
func (s *Store) takeNames(i Image) error {
	all, err := s.Images()
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID == i.ID {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(other.Names), func(n string) bool { return slices.Contains(i.Names, n) })
		if len(kept) == len(other.Names) {
			continue
		}
		other.Names = kept
		if err := writeJSON(s.ImageDir(other.ID)+"/image.json", other); err != nil {
			return err
		}
	}
	return nil
}

// Tag gives an image a further name.
func (s *Store) Tag(id digest.Digest, name string) error {
	if err := validImageName(name); err != nil {
		return err
	}
	l, err := s.lockNames()
	if err != nil {
		return err
	}
	defer l.Unlock()
	i, err := s.image(id.Encoded())
	if err != nil {
		return err
	}
	if !slices.Contains(i.Names, name) {
		i.Names = append(i.Names, name)
		if err := writeJSON(s.ImageDir(id)+"/image.json", i); err != nil {
			return err
		}
	}
	return s.takeNames(*i)
}

// Untag takes a name from an image and returns how many are left.
func (s *Store) Untag(id digest.Digest, name string) (int, error) {
	l, err := s.lockNames()
	if err != nil {
		return 0, err
	}
	defer l.Unlock()
	i, err := s.image(id.Encoded())
	if err != nil {
		return 0, err
	}
	i.Names = slices.DeleteFunc(i.Names, func(n string) bool { return n == name })
	return len(i.Names), writeJSON(s.ImageDir(id)+"/image.json", i)
}

// RemoveImage removes an image, but not its layers (see Garbage). The store
// must be owned.
func (s *Store) RemoveImage(id digest.Digest) error { return s.Discard(s.ImageDir(id)) }

func validImageName(n string) error {
	if n == "" || len(n) > 512 || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("image name %q is not valid", n)
	}
	return nil
}
