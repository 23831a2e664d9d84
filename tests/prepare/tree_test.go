package prepare

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdSameTree is "sametree A B [but=PATH…]": the trees are equal, file by file:
// types, modes, owners, sizes, content, times, devices, links, attributes. The
// root's time is not looked at, with noroot nothing of it, nor the times of paths
// in notime=PATH.
func cmdSameTree(ts *testscript.TestScript, neg bool, args []string) {
	var but, notime []string
	noroot := false
	for _, a := range args[2:] {
		if a == "noroot" {
			noroot = true
		} else if p, ok := strings.CutPrefix(a, "but="); ok {
			but = append(but, p)
		} else if p, ok := strings.CutPrefix(a, "notime="); ok {
			notime = append(notime, p)
		} else {
			ts.Fatalf("unknown argument %q", a)
		}
	}
	a, err := readTree(ts.MkAbs(args[0]), but, notime)
	ts.Check(err)
	b, err := readTree(ts.MkAbs(args[1]), but, notime)
	ts.Check(err)
	if noroot {
		delete(a, ".")
		delete(b, ".")
	}
	if len(a) < 2 {
		ts.Fatalf("%s is empty", args[0])
	}
	var diff []string
	for p := range a {
		if a[p] != b[p] {
			diff = append(diff, fmt.Sprintf("%q\n  A %s\n  B %s", p, a[p], b[p]))
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			diff = append(diff, fmt.Sprintf("%q\n  A -\n  B %s", p, b[p]))
		}
	}
	slices.Sort(diff)
	if (len(diff) > 0) != neg {
		ts.Fatalf("%d of %d entries differ\n%s", len(diff), len(a), strings.Join(diff[:min(len(diff), 20)], "\n"))
	}
	ts.Logf("%d entries are the same", len(a))
}

// readTree describes each entry of a tree in a line.
func readTree(root string, but, notime []string) (map[string]string, error) {
	out := map[string]string{}
	inodes := map[uint64][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if slices.Contains(but, rel) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		if rel != "." && !slices.Contains(notime, rel) {
			line += fmt.Sprintf(" %d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			sum, err := hashFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %s", st.Size, sum)
			if st.Nlink > 1 {
				inodes[st.Ino] = append(inodes[st.Ino], rel)
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		attrs, err := xattrs(path)
		if err != nil {
			return err
		}
		out[rel] = line + attrs
		return nil
	})
	for _, names := range inodes {
		if len(names) == 1 {
			continue // overlayfs counts the names that a lower layer has
		}
		slices.Sort(names)
		for _, n := range names {
			out[n] += " links " + strings.Join(names, ",")
		}
	}
	return out, err
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%.12x", h.Sum(nil)), err
}

func xattrs(path string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err == unix.ENOTSUP {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	all := map[string]string{}
	for _, k := range strings.Split(string(buf[:n]), "\x00") {
		if k == "" {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, k, v)
		if err != nil {
			return "", err
		}
		all[k] = fmt.Sprintf("%x", v[:n])
	}
	var out string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out += " " + k + "=" + all[k]
	}
	return out, nil
}
