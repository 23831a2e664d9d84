// entry.go: what an entry of a tar may say.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"strings"
)

// entryPath cleans an entry's name: relative to the layer's root, "" for that.
// A name that climbs out of it is refused, even if it would come back.
func entryPath(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("the name has a NUL in it")
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errors.New("the path leads out of the layer")
	}
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// checkNumbers refuses owners and devices that the kernel would cut to others:
// user 2^32 to root, the device 4096:0 to the 0:0 of a whiteout.
func checkNumbers(h *tar.Header) error {
	const (
		ids          = 1<<32 - 1 // the last one means none
		majors       = 1 << 12   // MINORBITS of linux/kdev_t.h leaves 12 of 32 bits
		minors int64 = 1 << 20
	)
	if uid, gid := int64(h.Uid), int64(h.Gid); uid < 0 || uid >= ids || gid < 0 || gid >= ids {
		return fmt.Errorf("the owner %d:%d is none that a file can have", h.Uid, h.Gid)
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		if h.Devmajor < 0 || h.Devmajor >= majors || h.Devminor < 0 || h.Devminor >= minors {
			return fmt.Errorf("the device %d:%d is none that Linux can have", h.Devmajor, h.Devminor)
		}
	}
	return nil
}

// sparse is how many bytes the sparse files of a layer have, holes included.
type sparse int64

// maxSparse is how many they may have: a few bytes of a tar can describe
// exbibytes of holes, which are read like any content.
const maxSparse = 64 << 30

func (s *sparse) add(h *tar.Header) error {
	if !isSparse(h) {
		return nil
	}
	if h.Size > maxSparse-int64(*s) {
		return fmt.Errorf("the sparse files of the layer have more than %d GiB", int64(maxSparse)>>30)
	}
	*s += sparse(h.Size)
	return nil
}

// isSparse tells whether an entry has a map of its holes.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func split(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}
