package plan

import (
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
)

// steps.go: what the tables of an exec (direct.go) and of a container's init
// (straight.go) have in common: looking up files, and looking at them. An exec
// and a straight init execute nothing of the user's before the last step, so that a
// step which fails can leave it to gourd's init to begin anew: it does the same,
// and has the words for what is wrong.

// num and id shorten the tables.
func num(n int) nsenter.Arg { return nsenter.Num(n) }

func id(n uint32) nsenter.Arg { return nsenter.Num(int(n)) }

// steps appends steps.
type steps struct {
	*nsenter.Tail
	root nsenter.Arg // where the fd of the container's root is

	hows  map[unix.OpenHow]nsenter.Arg
	attrs map[unix.MountAttr]nsenter.Arg
	empty nsenter.Arg // the string ""
	seen  nsenter.Arg // what look has found: a struct statx
}

func newSteps(t *nsenter.Tail) *steps {
	s := &steps{Tail: t, hows: map[unix.OpenHow]nsenter.Arg{}, attrs: map[unix.MountAttr]nsenter.Arg{}}
	s.empty = t.Bytes("\x00")
	s.seen = t.Words(make([]uint64, statxSize/8)...)
	return s
}

// inRoot is how paths of the container are looked up, as linux.OpenInRoot does it.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// beneath is how linux.OpenBeneath does it.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// open appends openat2(2), close-on-exec. The fd goes to Save.
func (s *steps) open(why string, dir nsenter.Arg, path string, flags int, resolve uint64) *nsenter.Step {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve}
	at, ok := s.hows[how]
	if !ok {
		at = s.Words(how.Flags, how.Mode, how.Resolve)
		s.hows[how] = at
	}
	return s.Call(why, unix.SYS_OPENAT2, dir, s.String(path), at, num(unix.SizeofOpenHow))
}

// openInRoot opens a path as linux.OpenInRoot does.
func (s *steps) openInRoot(why, path string, flags int) *nsenter.Step {
	return s.open(why, s.root.Value(), path, flags, inRoot)
}

// close appends the closing of the fd at a cell.
func (s *steps) close(cell nsenter.Arg) {
	s.Call("close it", unix.SYS_CLOSE, cell.Value())
}

// fail appends a step that fails.
func (s *steps) fail(why string) {
	s.Call(why, unix.SYS_CLOSE, num(-1))
}

// jumpIf appends what goes on elsewhere if the bits of mask at the address are
// value, and returns its index, for land.
func (s *steps) jumpIf(at nsenter.Arg, value, mask uint64) int {
	return s.Add(nsenter.Step{Kind: nsenter.Jump, Args: [6]nsenter.Arg{at, num(int(value)), num(int(mask))}, Why: "go on elsewhere, or not"})
}

// jump appends what goes on elsewhere in any case.
func (s *steps) jump() int {
	s.Goto(0)
	return s.Here() - 1
}

// land makes these steps go on here.
func (s *steps) land(from ...int) {
	for _, i := range from {
		s.Steps[i].Target = s.Here()
	}
}

// last is the index of the step that was appended last.
func (s *steps) last() int { return s.Here() - 1 }

// want appends what fails unless the bits of mask at the address are value.
func (s *steps) want(why string, at nsenter.Arg, value, mask uint64) {
	ok := s.jumpIf(at, value, mask)
	s.fail(why)
	s.land(ok)
}

// Where in a struct statx is what is looked at, in words of 64 bits
// (linux/stat.h).
const (
	statxSize  = 256
	statOwner  = 16  // the number of links, and the user
	statMode   = 24  // the group, and 16 bits of the mode
	statIno    = 32  // the inode number
	statDevice = 128 // major and minor of a device node
)

const upper = uint64(1<<32-1) << 32 // the upper half of a word

// look appends the look at the file that an fd is of.
func (s *steps) look(fd nsenter.Arg) {
	s.Call("look at it", unix.SYS_STATX, fd, s.empty, num(unix.AT_EMPTY_PATH), num(unix.STATX_BASIC_STATS), s.seen)
}

// lookAt appends the look at a name in a directory, also if it is a symlink.
func (s *steps) lookAt(dir nsenter.Arg, name nsenter.Arg) {
	s.Call("look at it", unix.SYS_STATX, dir, name, num(unix.AT_SYMLINK_NOFOLLOW), num(unix.STATX_BASIC_STATS), s.seen)
}

// ifType is jumpIf what was looked at is of that type: S_IFDIR, for example.
func (s *steps) ifType(kind uint64) int {
	return s.jumpIf(s.seen.Plus(statMode), kind<<32, unix.S_IFMT<<32)
}

// wantDevice appends what fails unless the node that was looked at is of this
// type and number.
func (s *steps) wantDevice(why string, mode uint32, dev uint64) {
	s.want(why, s.seen.Plus(statMode), uint64(mode&unix.S_IFMT)<<32, unix.S_IFMT<<32)
	if mode&unix.S_IFMT != unix.S_IFIFO {
		s.want(why, s.seen.Plus(statDevice), uint64(unix.Major(dev))|uint64(unix.Minor(dev))<<32, ^uint64(0))
	}
}
