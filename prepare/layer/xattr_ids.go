// xattr_ids.go: ids in extended attributes: of file capabilities and access control lists.

package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

func sameIDs(uid, gid uint32) (uint32, uint32) { return uid, gid }

// mapCapability maps the root of a file capability, whose third form has the user
// id of who is root in it (capabilities(7)). What the kernel would not take is an
// error.
func mapCapability(v string, ids IDs) (string, error) {
	const (
		v2, v3         = 0x02000000, 0x03000000
		size2, size3   = 20, 24
		effective      = 0x1 // all else is the revision
		revisionOfMask = ^uint32(effective)
	)
	if len(v) != size2 && len(v) != size3 {
		return "", fmt.Errorf("a file capability of %d bytes", len(v))
	}
	b := []byte(v)
	magic := binary.LittleEndian.Uint32(b)
	root := uint32(0)
	switch {
	case magic&revisionOfMask == v3 && len(b) == size3:
		root = binary.LittleEndian.Uint32(b[size2:])
	case magic&revisionOfMask != v2 || len(b) != size2:
		return "", fmt.Errorf("a file capability of the revision %#x", magic)
	}
	root, _ = ids(root, 0)
	out := append([]byte{}, b[:size2]...)
	if root == 0 {
		binary.LittleEndian.PutUint32(out, magic&effective|v2)
		return string(out), nil
	}
	binary.LittleEndian.PutUint32(out, magic&effective|v3)
	return string(binary.LittleEndian.AppendUint32(out, root)), nil
}

// mapACL maps the users and groups of an access control list, which is a
// version and entries of a tag, permissions and an id (linux/posix_acl_xattr.h).
func mapACL(v string, ids IDs) (string, error) {
	const (
		version     = 2
		user, group = 0x02, 0x08
		entry       = 8
	)
	b := []byte(v)
	if len(b) < 4 || (len(b)-4)%entry != 0 || binary.LittleEndian.Uint32(b) != version {
		return "", fmt.Errorf("an access control list of %d bytes is not understood", len(b))
	}
	for e := b[4:]; len(e) > 0; e = e[entry:] {
		id := binary.LittleEndian.Uint32(e[4:])
		switch binary.LittleEndian.Uint16(e) {
		case user:
			id, _ = ids(id, 0)
		case group:
			_, id = ids(0, id)
		}
		binary.LittleEndian.PutUint32(e[4:], id)
	}
	return string(b), nil
}

// checkACL refuses what the kernel would not take for an access control list: it
// wants entries in the order of their tags, of which some must be there.
func checkACL(v string) error {
	if _, err := mapACL(v, sameIDs); err != nil {
		return err
	}
	const owner, user, group, groups, mask, other = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
	seen, last := 0, 0
	for e := v[4:]; len(e) > 0; e = e[8:] {
		tag := int(binary.LittleEndian.Uint16([]byte(e)))
		switch tag {
		case owner, group, mask, other:
			if tag <= last {
				return errors.New("an access control list that is not in order")
			}
		case user, groups:
			if tag < last {
				return errors.New("an access control list that is not in order")
			}
			if binary.LittleEndian.Uint32([]byte(e[4:])) == 1<<32-1 {
				return errors.New("an access control list for nobody")
			}
		default:
			return fmt.Errorf("an access control list with the tag %#x", tag)
		}
		if binary.LittleEndian.Uint16([]byte(e[2:])) > 7 {
			return errors.New("an access control list with unknown permissions")
		}
		last = tag
		seen |= tag
	}
	if seen != 0 && (seen&(owner|group|other) != owner|group|other || seen&(user|groups) != 0 && seen&mask == 0) {
		return errors.New("an access control list that lacks entries")
	}
	return nil
}
