// layers.go: unpacked layers.

package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Layer is what layer.json says.
type Layer struct {
	// Key is the name of its directory: the hex of DiffID, and if the layer
	// depends on those below it, a dot and the hex of their chain.
	Key    string        `json:"key"`
	DiffID digest.Digest `json:"diff-id"`
	// Format is "directory" or "erofs".
	Format string `json:"format"`
	// Size is the sum of its files' sizes in bytes, Entries how many entries
	// its tar has.
	Size    int64 `json:"size"`
	Entries int   `json:"entries"`
	// Sum is the digest of what tells damage: of a directory's manifest, or of
	// the index of an EROFS, whose tar is told by the diff id.
	Sum digest.Digest `json:"sum"`
	// TarSize is the size of its tar.
	TarSize int64 `json:"tar-size"`
	// Whiteouts says whether it has marks of overlayfs, Implied whether it has
	// directories that only a layer below could describe.
	Whiteouts bool `json:"whiteouts"`
	Implied   bool `json:"implied"`
	// Root says whether it describes the root directory.
	Root bool `json:"root"`
	// Boot is the boot in which it was made.
	Boot string `json:"boot"`
}

// The formats of layers.
const (
	FormatDirectory = "directory"
	FormatEROFS     = "erofs"
)

// LayerKey returns the key of a layer by itself.
func LayerKey(diffID digest.Digest) string { return diffID.Encoded() }

// DependentKey returns the key of a layer above these layers, the base first.
func DependentKey(diffID digest.Digest, below []digest.Digest) string {
	return diffID.Encoded() + "." + ChainID(below).Encoded()
}

// ChainID is the image-spec's name for a stack of layers (config.md, "Layer ChainID").
func ChainID(diffIDs []digest.Digest) digest.Digest {
	if len(diffIDs) == 0 {
		return ""
	}
	chain := diffIDs[0]
	for _, d := range diffIDs[1:] {
		chain = digest.FromString(chain.String() + " " + d.String())
	}
	return chain
}

var layerKey = regexp.MustCompile(`^[0-9a-f]{64}(\.[0-9a-f]{64})?$`)

// LayerDir is where a layer is.
func (s *Store) LayerDir(key string) string { return s.Root + "/layers/" + key }

// syncedName marks a layer whose content is known to be on the disk.
const syncedName = "synced"

// Layer returns a layer that can be trusted; os.ErrNotExist: there is none, or
// not any more since the machine stopped before it was on disk.
func (s *Store) Layer(key string) (*Layer, error) {
	if !layerKey.MatchString(key) {
		return nil, fmt.Errorf("layer key %q is not valid", key)
	}
	var l Layer
	if err := readJSON(s.LayerDir(key)+"/layer.json", &l); err != nil {
		return nil, err
	}
	if l.Key != key || l.Format != FormatDirectory && l.Format != FormatEROFS {
		return nil, fmt.Errorf("layer %s: layer.json is of %q in format %q", key, l.Key, l.Format)
	}
	if l.Boot != s.boot && !s.synced(key) {
		return nil, fmt.Errorf("layer %s was not written to disk before the machine stopped: %w", key, os.ErrNotExist)
	}
	return &l, nil
}

func (s *Store) synced(key string) bool {
	_, err := os.Stat(s.LayerDir(key) + "/" + syncedName)
	return err == nil
}

// AddLayer places the directory tmp, which holds all but layer.json. The layer
// must be locked; one that is there but not to be trusted is replaced.
func (s *Store) AddLayer(tmp string, l Layer) error {
	l.Boot = s.boot
	if err := writeJSON(tmp+"/layer.json", l); err != nil {
		return err
	}
	dir := s.LayerDir(l.Key)
	if _, err := os.Lstat(dir); err == nil {
		if err := s.Discard(dir); err != nil {
			return err
		}
	}
	return s.place(tmp, dir)
}

// SyncLayers makes sure that layers are on disk and marks them so.
func (s *Store) SyncLayers(keys []string) error {
	var todo []string
	for _, k := range keys {
		if !s.synced(k) {
			todo = append(todo, k)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	if err := unix.Syncfs(int(s.dir.Fd())); err != nil {
		return fmt.Errorf("write the store to disk: %w", err)
	}
	for _, k := range todo {
		f, err := os.OpenFile(s.LayerDir(k)+"/"+syncedName, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Layers lists the keys of all layers, trusted or not.
func (s *Store) Layers() ([]string, error) {
	all, err := s.ids("layers")
	var keys []string
	for _, k := range all {
		if layerKey.MatchString(k) {
			keys = append(keys, k)
		}
	}
	return keys, err
}

// validHex tells whether id is a digest in hex.
func validHex(id string) bool {
	_, err := hex.DecodeString(id)
	return err == nil && len(id) == 64 && strings.ToLower(id) == id
}

// match finds which of ids the prefix means.
func match(prefix string, ids []string) (string, error) {
	prefix = strings.TrimPrefix(prefix, "sha256:")
	if prefix == "" {
		return "", os.ErrNotExist
	}
	var found string
	for _, id := range ids {
		if id == prefix {
			return id, nil
		}
		if strings.HasPrefix(id, prefix) {
			if found != "" {
				return "", ErrAmbiguous
			}
			found = id
		}
	}
	if found == "" {
		return "", os.ErrNotExist
	}
	return found, nil
}

// isGone tells whether an error says that something is not there (any more).
func isGone(err error) bool { return errors.Is(err, os.ErrNotExist) }
