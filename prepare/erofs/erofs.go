// Package erofs writes the metadata of an EROFS file system whose files' content
// lies in another file, the device: a layer's tar, as it is. Making a layer so
// takes a fraction of the time of unpacking it, and removing it is removing two
// files.
//
// The format is that of the kernel's Documentation/filesystems/erofs.rst and
// fs/erofs/erofs_fs.h: blocks of 512 bytes, as a tar has them, extended inodes,
// inline attributes, one chunk a file. It is written here, because the Go
// library for EROFS has no hard links yet, and a layer is full of them. It reads nothing
// and mounts nothing.
package erofs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// BlockBits is the binary logarithm of the size of a block.
const (
	BlockBits = 9
	blockSize = 1 << BlockBits
)

// Inode is a file with all its names' attributes. Two names of one file are two
// references to one Inode.
type Inode struct {
	Mode     uint32 // with the type: S_IFREG and so on
	UID, GID uint32
	Sec      int64 // time of the last change of content
	Nsec     uint32
	Rdev     uint64
	Size     uint64 // of a regular file
	Offset   uint64 // of its content in the device; a multiple of the block size
	Target   string // of a symlink
	Xattrs   map[string]string
	Children map[string]*Inode // of a directory

	ino, nlink uint32
	parent     *Inode
	xattrs     []byte // as they are written
	at         uint64 // where the inode is
	inline     bool   // the target is behind it
	data       uint64 // block of a directory's or symlink's content
}

// Type returns the type bits of the mode.
func (i *Inode) Type() uint32 { return i.Mode & unix.S_IFMT }

const (
	magic           = 0xE0F5E1E2
	superOffset     = 1024
	deviceSlotSize  = 128
	deviceSlot      = 9 // behind the superblock
	firstInode      = (deviceSlot + 1) * deviceSlotSize
	inodeSize       = 64
	slotSize        = 32 // what node numbers count
	incompatChunked = 0x4
	incompatDevices = 0x8
	compatMtime     = 0x2
	layoutPlain     = 0
	layoutInline    = 2
	layoutChunk     = 4
	chunkIndexes    = 0x20
	xattrHeader     = 12
	nullAddr        = math.MaxUint32
)

type writer struct {
	inodes []*Inode
	next   uint64
}

// Write writes the file system of root, whose content lies in a device of so
// many bytes.
func Write(out io.Writer, root *Inode, deviceSize uint64) error {
	if root.Type() != unix.S_IFDIR {
		return errors.New("erofs: the root is not a directory")
	}
	w := &writer{next: firstInode}
	root.parent = root
	if err := w.collect(root, 0); err != nil {
		return err
	}
	// The places first: of the inodes, then of what does not lie behind them.
	for _, i := range w.inodes {
		if err := w.place(i); err != nil {
			return err
		}
	}
	block := (w.next + blockSize - 1) / blockSize
	for _, i := range w.inodes {
		n := i.blocks()
		if n > 0 {
			i.data = block
			block += n
		}
	}
	if block > math.MaxUint32 || deviceSize/blockSize > math.MaxUint32-1 {
		return errors.New("erofs: too large for block numbers of 32 bits")
	}
	return w.write(bufio.NewWriterSize(out, 256<<10), root, block, (deviceSize+blockSize-1)/blockSize)
}

// maxDepth is how deep directories may be nested: a path has 4096 bytes.
const maxDepth = 4096

// collect numbers the inodes, directories before what is in them.
func (w *writer) collect(i *Inode, depth int) error {
	if depth > maxDepth {
		return errors.New("erofs: directories are nested too deeply")
	}
	w.add(i)
	i.nlink = 2
	for _, name := range slices.Sorted(maps.Keys(i.Children)) {
		if len(name) > 255 || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("erofs: the name %q is not valid", name)
		}
		c := i.Children[name]
		if c.Type() == unix.S_IFDIR {
			c.parent = i
			i.nlink++
			if err := w.collect(c, depth+1); err != nil {
				return err
			}
			continue
		}
		if c.ino == 0 {
			w.add(c)
		}
		c.nlink++
	}
	return nil
}

func (w *writer) add(i *Inode) {
	w.inodes = append(w.inodes, i)
	i.ino = uint32(len(w.inodes))
}

// place decides where an inode is and what follows it.
func (w *writer) place(i *Inode) error {
	var err error
	if i.xattrs, err = encodeXattrs(i.Xattrs); err != nil {
		return err
	}
	size := uint64(inodeSize + len(i.xattrs))
	switch i.Type() {
	case unix.S_IFREG:
		if i.Size > 0 {
			if i.Offset%blockSize != 0 {
				return fmt.Errorf("erofs: content at %d is not at the start of a block", i.Offset)
			}
			size = (size+7)&^7 + 8
		}
	case unix.S_IFLNK:
		if len(i.Target) == 0 || len(i.Target) >= unix.PathMax {
			return fmt.Errorf("erofs: a symlink's target has %d bytes", len(i.Target))
		}
		// It may lie behind the inode if it crosses no end of a block.
		start := w.next + size
		if start/blockSize != (start+uint64(len(i.Target))-1)/blockSize && size+uint64(len(i.Target)) <= blockSize {
			w.next = (w.next + blockSize - 1) &^ (blockSize - 1)
			start = w.next + size
		}
		if start/blockSize == (start+uint64(len(i.Target))-1)/blockSize {
			i.inline = true
			size += uint64(len(i.Target))
		}
	}
	i.at = w.next
	w.next = (w.next + size + slotSize - 1) &^ (slotSize - 1)
	return nil
}

func (i *Inode) nid() uint64 { return i.at / slotSize }

// blocks is how many blocks of content the inode has in this file.
func (i *Inode) blocks() uint64 {
	switch {
	case i.Type() == unix.S_IFDIR:
		return uint64(len(i.split()))
	case i.Type() == unix.S_IFLNK && !i.inline:
		return (uint64(len(i.Target)) + blockSize - 1) / blockSize
	}
	return 0
}

const direntSize = 12

// split divides the names of a directory, sorted with "." and "..", into blocks.
func (i *Inode) split() [][]string {
	names := append([]string{".", ".."}, slices.Collect(maps.Keys(i.Children))...)
	slices.Sort(names)
	var out [][]string
	used := blockSize
	for _, n := range names {
		if used+direntSize+len(n) > blockSize {
			out = append(out, nil)
			used = 0
		}
		out[len(out)-1] = append(out[len(out)-1], n)
		used += direntSize + len(n)
	}
	return out
}

// dirSize is the size of a directory: its last block counts as far as it is used.
func dirSize(blocks [][]string) uint64 {
	size := uint64(len(blocks)-1) * blockSize
	for _, n := range blocks[len(blocks)-1] {
		size += direntSize + uint64(len(n))
	}
	return size
}

func (i *Inode) lookup(name string) *Inode {
	switch name {
	case ".":
		return i
	case "..":
		return i.parent
	}
	return i.Children[name]
}

// fileType is the dirent's type of a file (FT_REG_FILE and so on).
func (i *Inode) fileType() byte {
	switch i.Type() {
	case unix.S_IFREG:
		return 1
	case unix.S_IFDIR:
		return 2
	case unix.S_IFCHR:
		return 3
	case unix.S_IFBLK:
		return 4
	case unix.S_IFIFO:
		return 5
	case unix.S_IFSOCK:
		return 6
	case unix.S_IFLNK:
		return 7
	}
	return 0
}

// encodeDir makes one block of a directory; the last may be short.
func (i *Inode) encodeDir(names []string) []byte {
	var heads, text []byte
	at := len(names) * direntSize
	for _, n := range names {
		c := i.lookup(n)
		heads = binary.LittleEndian.AppendUint64(heads, c.nid())
		heads = binary.LittleEndian.AppendUint16(heads, uint16(at))
		heads = append(heads, c.fileType(), 0)
		text = append(text, n...)
		at += len(n)
	}
	return append(heads, text...)
}

// The prefixes of attribute names that have a number; posix ACLs are one name.
var prefixes = []struct {
	index byte
	name  string
}{
	{2, "system.posix_acl_access"}, {3, "system.posix_acl_default"}, {1, "user."}, {4, "trusted."}, {6, "security."},
}

// encodeXattrs makes what lies behind an inode that has attributes.
func encodeXattrs(all map[string]string) ([]byte, error) {
	if len(all) == 0 {
		return nil, nil
	}
	out := make([]byte, xattrHeader)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		index, rest := byte(0), ""
		for _, p := range prefixes {
			if strings.HasPrefix(key, p.name) && (p.index != 2 && p.index != 3 || key == p.name) {
				index, rest = p.index, key[len(p.name):]
				break
			}
		}
		if index == 0 || len(rest) > 255 || len(all[key]) > math.MaxUint16 {
			return nil, fmt.Errorf("erofs: the extended attribute %s of %d bytes cannot be stored", key, len(all[key]))
		}
		out = append(out, byte(len(rest)), index)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(all[key])))
		out = append(out, rest...)
		out = append(out, all[key]...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	if (len(out)-xattrHeader)/4+1 > math.MaxUint16 {
		return nil, errors.New("erofs: too many extended attributes")
	}
	return out, nil
}

// super is the superblock and the table of the one device.
func (w *writer) super(root *Inode, blocks, deviceBlocks uint64) []byte {
	b := make([]byte, firstInode)
	s := b[superOffset:]
	le := binary.LittleEndian
	le.PutUint32(s, magic)
	le.PutUint32(s[8:], compatMtime)
	s[12] = BlockBits
	le.PutUint16(s[14:], uint16(root.nid()))
	le.PutUint64(s[16:], uint64(len(w.inodes)))
	le.PutUint32(s[36:], uint32(blocks))
	le.PutUint32(s[80:], incompatChunked|incompatDevices)
	le.PutUint16(s[86:], 1) // devices
	le.PutUint16(s[88:], deviceSlot)
	d := b[deviceSlot*deviceSlotSize:]
	le.PutUint32(d[64:], uint32(deviceBlocks))
	return b
}

// encode makes an inode with what lies behind it.
func (i *Inode) encode() []byte {
	le := binary.LittleEndian
	layout := uint16(layoutPlain)
	var size uint64
	var u uint32
	switch i.Type() {
	case unix.S_IFREG:
		size = i.Size
		if size > 0 {
			layout = layoutChunk
			u = chunkIndexes | chunkBits(size)
		}
	case unix.S_IFDIR:
		size, u = dirSize(i.split()), uint32(i.data)
	case unix.S_IFLNK:
		size, u = uint64(len(i.Target)), uint32(i.data)
		if i.inline {
			layout, u = layoutInline, nullAddr
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		major, minor := unix.Major(i.Rdev), unix.Minor(i.Rdev)
		u = minor&0xff | major<<8 | (minor&^0xff)<<12 // new_encode_dev
	}
	b := make([]byte, inodeSize, inodeSize+len(i.xattrs)+len(i.Target)+16)
	le.PutUint16(b, 1|layout<<1)
	if len(i.xattrs) > 0 {
		le.PutUint16(b[2:], uint16((len(i.xattrs)-xattrHeader)/4+1))
	}
	le.PutUint16(b[4:], uint16(i.Mode))
	le.PutUint64(b[8:], size)
	le.PutUint32(b[16:], u)
	le.PutUint32(b[20:], i.ino)
	le.PutUint32(b[24:], i.UID)
	le.PutUint32(b[28:], i.GID)
	le.PutUint64(b[32:], uint64(i.Sec))
	le.PutUint32(b[40:], i.Nsec)
	le.PutUint32(b[44:], i.nlink)
	b = append(b, i.xattrs...)
	switch {
	case layout == layoutChunk:
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		b = le.AppendUint16(b, 0)
		b = le.AppendUint16(b, 1) // the device
		b = le.AppendUint32(b, uint32(i.Offset/blockSize))
	case i.inline:
		b = append(b, i.Target...)
	}
	return b
}

// chunkBits is how large the one chunk of a file is, as blocks' logarithm.
func chunkBits(size uint64) uint32 {
	bits := uint32(0)
	for uint64(blockSize)<<bits < size {
		bits++
	}
	return bits
}

func (w *writer) write(out *bufio.Writer, root *Inode, blocks, deviceBlocks uint64) error {
	if root.nid() > math.MaxUint16 {
		return errors.New("erofs: the root is too far from the start")
	}
	at := uint64(0)
	put := func(to uint64, b []byte) error {
		for ; at < to; at++ {
			if err := out.WriteByte(0); err != nil {
				return err
			}
		}
		at += uint64(len(b))
		_, err := out.Write(b)
		return err
	}
	if err := put(0, w.super(root, blocks, deviceBlocks)); err != nil {
		return err
	}
	for _, i := range w.inodes {
		if err := put(i.at, i.encode()); err != nil {
			return err
		}
	}
	for _, i := range w.inodes {
		switch {
		case i.Type() == unix.S_IFDIR:
			for n, names := range i.split() {
				if err := put((i.data+uint64(n))*blockSize, i.encodeDir(names)); err != nil {
					return err
				}
			}
		case i.Type() == unix.S_IFLNK && !i.inline:
			if err := put(i.data*blockSize, []byte(i.Target)); err != nil {
				return err
			}
		}
	}
	// To the end of a page: the kernel reads pages.
	if err := put((max(blocks*blockSize, at)+4095)&^4095, nil); err != nil {
		return err
	}
	return out.Flush()
}
