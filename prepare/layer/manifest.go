// manifest.go: what a layer's directory holds, so that damage is found later.

package layer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// A manifest has a line for each name of a layer, in a fixed order: the quoted
// name, then type and mode, owner, time, what it is (a file's size and digest, a
// link's target, a device's numbers), and the digest of the extended attributes.
// It is made when the layer is: the contents' digests come from the same pass
// over the tar that checks the diff id, the rest is what the file system says.

// A tar itself cannot be compared with: nothing else than its bytes gives them
// again.

// fieldNames are what the fields of a line behind the name say.
var fieldNames = []string{"type or mode", "owner", "time", "content", "extended attributes"}

// Contents are the digests of regular files, by inode number.
type Contents map[uint64][sha256.Size]byte

// WriteManifest describes the directory root, whose files' content is known, and
// returns the digest of what it has written.
func WriteManifest(w io.Writer, root *os.File, contents Contents) (digest.Digest, error) {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	d := describer{
		content: func(_ int, _ string, st *unix.Stat_t) ([sha256.Size]byte, error) {
			c, ok := contents[st.Ino]
			if !ok {
				return c, errors.New("its content was never written")
			}
			return c, nil
		},
		line: func(_, line string) error { _, err := out.WriteString(line + "\n"); return err },
	}
	if err := d.root(root); err != nil {
		return "", fmt.Errorf("describe the layer: %w", err)
	}
	if err := out.Flush(); err != nil {
		return "", err
	}
	return digest.NewDigest(digest.SHA256, sum), nil
}

// Damage says how a layer differs from its manifest.
type Damage struct {
	Path string
	What string
}

func (d *Damage) Error() string { return fmt.Sprintf("%s: %s", "/"+d.Path, d.What) }

// Verify compares the directory root with its manifest, which must have a digest.
// The first difference is a *Damage.
func Verify(ctx context.Context, manifest io.Reader, want digest.Digest, root *os.File) error {
	sum := sha256.New()
	in := bufio.NewScanner(io.TeeReader(manifest, sum))
	in.Buffer(nil, 1<<20)
	buf := make([]byte, 256<<10)
	var found *Damage
	d := describer{
		content: func(dir int, base string, _ *unix.Stat_t) (out [sha256.Size]byte, err error) {
			fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return out, err
			}
			f := os.NewFile(uintptr(fd), base)
			defer f.Close()
			h := sha256.New()
			if _, err := io.CopyBuffer(h, Until{ctx, f}, buf); err != nil {
				return out, err
			}
			return [sha256.Size]byte(h.Sum(nil)), nil
		},
		line: func(name, line string) error {
			if !in.Scan() {
				found = &Damage{name, "it is not of the layer"}
			} else if in.Text() != line {
				found = differs(name, in.Text(), line)
			}
			if found != nil {
				return found
			}
			return nil
		},
	}
	err := d.root(root)
	if err == nil && in.Scan() {
		found = &Damage{nameOfLine(in.Text()), "it is missing"}
	}
	if err != nil && found == nil {
		return err
	}
	// A manifest that is not what it was says nothing about the layer.
	for in.Scan() {
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	if err := match("manifest", want, sum); err != nil {
		return err
	}
	if found != nil {
		return found
	}
	return nil
}

// nameOfLine is the name that a line is about.
func nameOfLine(line string) string {
	q, err := strconv.QuotedPrefix(line)
	if err != nil {
		return line
	}
	name, _ := strconv.Unquote(q) // it is quoted
	return name
}

// differs words the difference of two lines, one of the name that is there.
func differs(name, want, got string) *Damage {
	wanted := nameOfLine(want)
	switch slices.Compare(strings.Split(wanted, "/"), strings.Split(name, "/")) {
	case -1:
		return &Damage{wanted, "it is missing"}
	case 1:
		return &Damage{name, "it is not of the layer"}
	}
	w, g := strings.Split(want[len(strconv.Quote(name)):], " "), strings.Split(got[len(strconv.Quote(name)):], " ")
	var what []string
	for i, f := range fieldNames {
		if i+1 < len(w) && i+1 < len(g) && w[i+1] != g[i+1] {
			what = append(what, f)
		}
	}
	return &Damage{name, "not as it was made: " + strings.Join(what, ", ")}
}

// describer walks a directory and makes a line of each entry.
type describer struct {
	content func(dir int, base string, st *unix.Stat_t) ([sha256.Size]byte, error)
	line    func(name, line string) error
	first   map[uint64]string // the first name of an inode with several
}

func (d *describer) root(root *os.File) error {
	d.first = map[uint64]string{}
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if err := d.entry(fd, ".", "", &st); err != nil {
		unix.Close(fd)
		return err
	}
	return d.dir(fd, "")
}

// dir describes what is in a directory. It owns fd. The names are sorted as whole
// paths are: what is in a directory comes right after it.
func (d *describer) dir(fd int, name string) error {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		full := join(name, n)
		var st unix.Stat_t
		if err := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &os.PathError{Op: "stat", Path: full, Err: err}
		}
		if err := d.entry(fd, n, full, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		sub, err := linux.OpenBeneath(fd, n, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return &os.PathError{Op: "open", Path: full, Err: err}
		}
		if err := d.dir(sub, full); err != nil {
			return err
		}
	}
	return nil
}

func (d *describer) entry(dir int, base, name string, st *unix.Stat_t) error {
	what := "-"
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Nlink > 1 {
			if first, ok := d.first[st.Ino]; ok {
				what = "=" + strconv.Quote(first)
				break
			}
			d.first[st.Ino] = name
		}
		c, err := d.content(dir, base, st)
		if err != nil {
			return &os.PathError{Op: "read", Path: name, Err: err}
		}
		what = fmt.Sprintf("%d:%x", st.Size, c)
	case unix.S_IFLNK:
		target, err := linux.Readlinkat(dir, base)
		if err != nil {
			return &os.PathError{Op: "read link", Path: name, Err: err}
		}
		what = strings.ReplaceAll(strconv.Quote(target), " ", `\x20`)
	case unix.S_IFCHR, unix.S_IFBLK:
		what = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	attrs, err := describeXattrs(procPath(dir, base))
	if err != nil {
		return &os.PathError{Op: "read extended attributes", Path: name, Err: err}
	}
	return d.line(name, fmt.Sprintf("%s %o %d:%d %d.%09d %s %s", strconv.Quote(name), st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, what, attrs))
}

// describeXattrs is a digest of a file's extended attributes; "-": it has none.
// The label that a kernel with SELinux gives to files is not the layer's.
func describeXattrs(p string) (string, error) {
	attrs, err := xattrsAt(p)
	if err != nil {
		return "", err
	}
	delete(attrs, selinux)
	if len(attrs) == 0 {
		return "-", nil
	}
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(h, "%q=%q\n", k, attrs[k])
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
