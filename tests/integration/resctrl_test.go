package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// resctrl_test.go: a made-up resctrl filesystem, for machines whose processor
// does not have what the kernel's own needs. It is a FUSE filesystem that this
// process serves; it behaves as resctrl.rst has it: making a directory makes its
// files, a group has what is written to its schemata file, moved processes leave
// their old group, and there is room for a few groups only. What a process has
// forked since it was moved is in its group too, as long as its parents live.
// (That a group is handed down the kernel sees to. Here nobody does where a child
// of gourd's has another take over, as with an exec into a pid namespace.)

// cmdResctrl is "resctrl DIR": mounts one at DIR, until the script ends.
func cmdResctrl(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: resctrl DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	ts.Check(err)
	err = unix.Mount("resctrl", dir, "fuse.resctrl", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd))
	ts.Check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		newMadeUp().serve(fd)
		unix.Close(fd)
	}()
	ts.Defer(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			ts.Logf("unmount %s: %v", dir, err)
		}
		<-done
		if err := os.Remove(dir); err != nil {
			ts.Logf("%v", err)
		}
	})
}

// What the made-up processor has: two domains, 8 bits of a cache in each.
const (
	madeUpGroups = 3 // that there is room for
	madeUpMask   = 0xff
	madeUpStep   = 10 // percent
)

// madeUp is the filesystem.
type madeUp struct {
	mu    sync.Mutex
	nodes map[uint64]*node
	next  uint64
	root  *node
	moves string        // of each process that was moved, how many threads it had: the kernel moves one
	said  string        // last_cmd_status
	group map[int]*node // of the processes that were moved; a monitoring group's parent is its group
	l3    map[*node][]uint64
	mb    map[*node][]uint64
}

// node is a file or directory.
type node struct {
	id     uint64
	name   string
	parent *node
	kids   []*node // of a directory
	dir    bool
	read   func() string
	write  func(text string) error // nil: it is read-only
}

func newMadeUp() *madeUp {
	m := &madeUp{nodes: map[uint64]*node{}, next: 1, said: "ok", group: map[int]*node{}, l3: map[*node][]uint64{}, mb: map[*node][]uint64{}}
	m.root = m.add(nil, "", true)
	info := m.add(m.root, "info", true)
	m.file(info, "last_cmd_status", func() string { return m.said + "\n" }, nil)
	m.file(info, "made_up_moves", func() string { return m.moves }, nil)
	l3 := m.add(info, "L3", true)
	m.file(l3, "cbm_mask", func() string { return fmt.Sprintf("%x\n", madeUpMask) }, nil)
	mb := m.add(info, "MB", true)
	m.file(mb, "bandwidth_gran", func() string { return fmt.Sprintf("%d\n", madeUpStep) }, nil)
	m.fillGroup(m.root)
	return m
}

func (m *madeUp) add(parent *node, name string, dir bool) *node {
	n := &node{id: m.next, name: name, parent: parent, dir: dir}
	m.next++
	m.nodes[n.id] = n
	if parent != nil {
		parent.kids = append(parent.kids, n)
	}
	return n
}

func (m *madeUp) file(parent *node, name string, read func() string, write func(string) error) {
	n := m.add(parent, name, false)
	n.read, n.write = read, write
}

func (n *node) kid(name string) *node {
	i := slices.IndexFunc(n.kids, func(k *node) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return n.kids[i]
}

// fillGroup gives a new group its files.
func (m *madeUp) fillGroup(g *node) {
	m.l3[g], m.mb[g] = []uint64{madeUpMask, madeUpMask}, []uint64{100, 100}
	m.tasks(g)
	m.file(g, "schemata", func() string {
		return fmt.Sprintf("    L3:0=%02x;1=%02x\n    MB:0=%3d;1=%3d\n", m.l3[g][0], m.l3[g][1], m.mb[g][0], m.mb[g][1])
	}, func(text string) error { return m.schemata(g, text) })
	m.add(g, "mon_groups", true)
	m.counts(g, 0)
}

// counts gives a group what is counted of it.
func (m *madeUp) counts(g *node, n int) {
	cache := m.add(m.add(g, "mon_data", true), "mon_L3_00", true)
	m.file(cache, "llc_occupancy", func() string { return fmt.Sprintf("%d\n", n+4096) }, nil)
	m.file(cache, "mbm_total_bytes", func() string { return fmt.Sprintf("%d\n", n+70) }, nil)
	m.file(cache, "mbm_local_bytes", func() string { return "Unavailable\n" }, nil)
}

func (m *madeUp) tasks(g *node) {
	m.file(g, "tasks", func() string { return m.members(g) }, func(text string) error { return m.move(g, text) })
}

// parentGroup is the group of a monitoring group, or the group itself.
func parentGroup(g *node) *node {
	if g.parent != nil && g.parent.name == "mon_groups" {
		return g.parent.parent
	}
	return g
}

func (m *madeUp) move(g *node, text string) error {
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return unix.EINVAL
	}
	if pid != 0 && unix.Kill(pid, 0) == unix.ESRCH {
		m.said = fmt.Sprintf("No task %d", pid)
		return unix.ESRCH
	}
	if parentGroup(m.of(pid)) != parentGroup(g) && parentGroup(g) != g {
		m.said = "Can't move task to different control group"
		return unix.EINVAL
	}
	m.group[pid] = g
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	m.moves += fmt.Sprintf("%d threads %d\n", pid, len(threads))
	return nil
}

// of returns the group of a process: its own, or that of who has forked it.
func (m *madeUp) of(pid int) *node {
	for pid > 1 {
		if g := m.group[pid]; g != nil {
			return g
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		pid, _ = strconv.Atoi(strings.Fields(rest)[1])
	}
	return m.root
}

// members lists the processes of a group, with those of its monitoring groups.
func (m *madeUp) members(g *node) string {
	entries, _ := os.ReadDir("/proc")
	var b strings.Builder
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if of := m.of(pid); of == g || parentGroup(of) == g {
			fmt.Fprintln(&b, pid)
		}
	}
	return b.String()
}

func (m *madeUp) schemata(g *node, text string) error {
	text, ok := strings.CutSuffix(text, "\n")
	if !ok {
		return unix.EINVAL
	}
	for line := range strings.SplitSeq(text, "\n") {
		name, rest, _ := strings.Cut(line, ":")
		values, base := m.l3[g], 16
		switch strings.TrimSpace(name) {
		case "L3":
		case "MB":
			values, base = m.mb[g], 10
		default:
			m.said = "Unknown or unsupported resource name '" + name + "'"
			return unix.EINVAL
		}
		for part := range strings.SplitSeq(rest, ";") {
			id, value, _ := strings.Cut(part, "=")
			i, err1 := strconv.Atoi(id)
			n, err2 := strconv.ParseUint(strings.TrimSpace(value), base, 32)
			if err1 != nil || err2 != nil || i < 0 || i >= len(values) {
				m.said = "Missing domain " + id
				return unix.EINVAL
			}
			if base == 16 && (n == 0 || n&^madeUpMask != 0) {
				m.said = "Mask out of range"
				return unix.EINVAL
			}
			if base == 10 {
				n = (n + madeUpStep - 1) / madeUpStep * madeUpStep
			}
			values[i] = n
		}
	}
	m.said = "ok"
	return nil
}

func (m *madeUp) mkdir(parent *node, name string) (*node, error) {
	switch {
	case parent.kid(name) != nil:
		return nil, unix.EEXIST
	case parent == m.root:
		if len(m.l3) > madeUpGroups { // with the default one
			m.said = "Out of CLOSIDs"
			return nil, unix.ENOSPC
		}
		g := m.add(parent, name, true)
		m.fillGroup(g)
		return g, nil
	case parent.name == "mon_groups":
		if len(parent.kids) >= madeUpGroups {
			m.said = "Out of RMIDs"
			return nil, unix.ENOSPC
		}
		g := m.add(parent, name, true)
		m.tasks(g)
		m.counts(g, 1)
		return g, nil
	}
	return nil, unix.EPERM
}

func (m *madeUp) rmdir(parent *node, name string) error {
	g := parent.kid(name)
	switch {
	case g == nil:
		return unix.ENOENT
	case g.kid("tasks") == nil: // no group
		return unix.EPERM
	}
	parent.kids = slices.DeleteFunc(parent.kids, func(k *node) bool { return k == g })
	m.forget(g)
	return nil
}

// forget takes away a node with all below; the processes of a group fall back.
func (m *madeUp) forget(n *node) {
	for _, k := range n.kids {
		m.forget(k)
	}
	for pid, g := range m.group {
		if g == n {
			if m.group[pid] = parentGroup(n); parentGroup(n) == n {
				delete(m.group, pid)
			}
		}
	}
	delete(m.l3, n)
	delete(m.mb, n)
	delete(m.nodes, n.id)
}

// The requests of FUSE (linux/fuse.h) that are answered.
const (
	fuseLookup, fuseForget, fuseGetattr, fuseSetattr = 1, 2, 3, 4
	fuseMkdir, fuseRmdir                             = 9, 11
	fuseOpen, fuseRead, fuseWrite                    = 14, 15, 16
	fuseRelease, fuseFlush, fuseInit, fuseOpendir    = 18, 25, 26, 27
	fuseReaddir, fuseReleasedir                      = 28, 29
	fuseBatchForget                                  = 42
	fuseInHeader, fuseOutHeader                      = 40, 16
)

// serve answers until the filesystem is unmounted.
func (m *madeUp) serve(fd int) {
	buf := make([]byte, 1<<17)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN || err == unix.ENOENT:
			continue
		case err != nil || n < fuseInHeader: // ENODEV: unmounted
			return
		}
		in := buf[:n]
		op := ne.Uint32(in[4:])
		m.mu.Lock()
		out, err := m.answer(op, ne.Uint64(in[16:]), in[fuseInHeader:])
		m.mu.Unlock()
		if op == fuseForget || op == fuseBatchForget {
			continue
		}
		head := make([]byte, fuseOutHeader)
		var errno unix.Errno
		if errors.As(err, &errno) {
			out = nil
			ne.PutUint32(head[4:], uint32(-int32(errno)))
		}
		ne.PutUint32(head, uint32(fuseOutHeader+len(out)))
		ne.PutUint64(head[8:], ne.Uint64(in[8:]))
		_, _ = unix.Write(fd, append(head, out...))
	}
}

var ne = binary.NativeEndian

// answer returns the answer to a request, behind the header.
func (m *madeUp) answer(op uint32, id uint64, in []byte) ([]byte, error) {
	if op == fuseInit {
		out := make([]byte, 64)
		ne.PutUint32(out, 7)
		ne.PutUint32(out[4:], 31)
		ne.PutUint32(out[20:], 1<<16) // max_write
		return out, nil
	}
	n := m.nodes[id]
	if n == nil {
		return nil, unix.ENOENT
	}
	switch op {
	case fuseLookup:
		if k := n.kid(cString(in)); k != nil {
			return entry(k), nil
		}
		return nil, unix.ENOENT
	case fuseGetattr, fuseSetattr:
		return append(make([]byte, 16), attr(n)...), nil
	case fuseMkdir:
		k, err := m.mkdir(n, cString(in[8:]))
		if err != nil {
			return nil, err
		}
		return entry(k), nil
	case fuseRmdir:
		return nil, m.rmdir(n, cString(in))
	case fuseOpen, fuseOpendir:
		out := make([]byte, 16)
		ne.PutUint32(out[8:], 1) // FOPEN_DIRECT_IO
		return out, nil
	case fuseRead:
		return part([]byte(n.read()), in), nil
	case fuseReaddir:
		return part(list(n), in), nil
	case fuseWrite:
		size := ne.Uint32(in[16:])
		if n.write == nil {
			return nil, unix.EPERM
		}
		if err := n.write(string(in[40 : 40+size])); err != nil {
			return nil, err
		}
		out := make([]byte, 8)
		ne.PutUint32(out, size)
		return out, nil
	case fuseFlush, fuseRelease, fuseReleasedir:
		return nil, nil
	}
	return nil, unix.ENOSYS
}

func cString(b []byte) string { return unix.ByteSliceToString(b) }

// part is what a read asks for.
func part(all, in []byte) []byte {
	from, size := int(ne.Uint64(in[8:])), int(ne.Uint32(in[16:]))
	if from >= len(all) {
		return nil
	}
	return all[from:min(len(all), from+size)]
}

// list is the content of a directory; whoever reads it has room for all.
func list(n *node) (b []byte) {
	for _, k := range n.kids {
		e := make([]byte, 24, 24+len(k.name)+8)
		ne.PutUint64(e, k.id)
		kind := uint32(unix.DT_REG)
		if k.dir {
			kind = unix.DT_DIR
		}
		ne.PutUint32(e[16:], uint32(len(k.name)))
		ne.PutUint32(e[20:], kind)
		e = append(e, k.name...)
		for len(e)%8 != 0 {
			e = append(e, 0)
		}
		ne.PutUint64(e[8:], uint64(len(b)+len(e))) // where the next one is
		b = append(b, e...)
	}
	return b
}

// entry is a struct fuse_entry_out, attr a struct fuse_attr.
func entry(n *node) []byte {
	out := make([]byte, 40)
	ne.PutUint64(out, n.id)
	return append(out, attr(n)...)
}

func attr(n *node) []byte {
	a := make([]byte, 88)
	ne.PutUint64(a, n.id)
	mode, links := uint32(unix.S_IFREG|0o444), uint32(1)
	switch {
	case n.dir:
		mode, links = unix.S_IFDIR|0o755, 2
	case n.write != nil:
		mode = unix.S_IFREG | 0o644
	}
	ne.PutUint32(a[60:], mode)
	ne.PutUint32(a[64:], links)
	return a
}
