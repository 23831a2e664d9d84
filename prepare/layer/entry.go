// entry.go: what an entry of a tar may say, in either form of layers.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// checkEntry checks what an entry says of itself, and returns its path; "" is the
// layer's root.
func checkEntry(h *tar.Header) (string, error) {
	name, err := entryPath(h.Name)
	if err != nil {
		return "", err
	}
	if strings.IndexByte(h.Linkname, 0) >= 0 {
		return "", errors.New("the link's target has a NUL in it")
	}
	if name == "" && h.Typeflag != tar.TypeDir {
		return "", errors.New("the layer's root is not a directory")
	}
	return name, checkNumbers(h)
}

// linkTarget returns the path of the file that a hard link at name is another
// name of.
func linkTarget(h *tar.Header, name string) (string, error) {
	target, err := entryPath(h.Linkname)
	switch {
	case err != nil || target == "":
		return "", errors.New("the path leads out of the layer")
	case target == name:
		return "", errors.New("it is a hard link to itself")
	case strings.HasPrefix(target, name+"/"):
		return "", errors.New("it is in the directory in whose place the link is to be")
	}
	return target, nil
}

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
	if len(clean) >= unix.PathMax {
		return "", fmt.Errorf("the path has %d bytes", len(clean))
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

// paxXattr is the prefix of extended attributes in PAX records.
const paxXattr = "SCHILY.xattr."

// Of access control lists, extended attributes and their kinds.
const (
	capability = "security.capability"
	selinux    = "security.selinux" // a file's label
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"

	maxXattrName  = 255
	maxXattrValue = 64 << 10
)

// takenXattrs returns the extended attributes that a layer takes of an entry:
// those that the kernel would take from who sets them, but for overlayfs's own.
// What no file can have is an error, what this one cannot have is dropped.
func takenXattrs(h *tar.Header, drop func(what string)) (map[string]string, error) {
	var taken map[string]string
	for record, value := range h.PAXRecords {
		key, ok := strings.CutPrefix(record, paxXattr)
		if !ok {
			continue
		}
		kind, rest, _ := strings.Cut(key, ".")
		var err error
		switch {
		case OverlayXattr(key):
			drop("extended attribute " + key + ", which is overlayfs's own")
			continue
		case key == selinuxLabel:
			drop("extended attribute " + key + ", which is the host's to give")
			continue
		case key != aclAccess && key != aclDefault && kind != "user" && kind != "trusted" && kind != "security":
			drop("extended attribute " + key + ", which Linux does not know")
			continue
		case len(key) > maxXattrName || len(value) > maxXattrValue || rest == "":
			err = fmt.Errorf("a name of %d bytes with a value of %d", len(key), len(value))
		case key == capability:
			_, err = mapCapability(value, sameIDs)
		case key == aclAccess || key == aclDefault:
			if h.Typeflag == tar.TypeSymlink {
				drop("extended attribute " + key + " of a symlink")
				continue
			}
			if err = checkACL(value); err == nil && key == aclDefault && h.Typeflag != tar.TypeDir {
				err = errors.New("only a directory has one")
			}
		case kind == "user" && h.Typeflag != tar.TypeDir && !isFile(h):
			drop("extended attribute " + key + ", which only files and directories have")
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("extended attribute %s: %w", key, err)
		}
		if taken == nil {
			taken = map[string]string{}
		}
		taken[key] = value
	}
	return taken, nil
}

// isFile tells whether an entry is a regular file.
func isFile(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, '\x00':
		return true
	}
	return false
}
