package notify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The page's layout. The first part is words of 64 bits in the machine's byte
// order, each of which is stored as the result of a system call could be, for
// there is a gate that can store nothing else. A text ends at its first byte 0
// or the end of its room.
const (
	offMagic = 0
	// BegunAt is where a word is that is not 0 when the filter and the execve
	// are next.
	BegunAt    = 8
	offResults = 8 // of StepHooks, the first, 8 bytes further; and so on
	// PathAt is where the path of the program is, and PathRoom how much of it there
	// is room for.
	PathAt, PathRoom = offResults + 8*6, 2048

	offPath   = PathAt
	offInterp = offPath + PathRoom
	offText   = offInterp + 512
	// PageSize is the page's size in bytes.
	PageSize = 8192

	pageMagic = 0x67726432 // tells a page of another gourd apart
)

// ResultAt returns where in the page the word is that a step's system call has
// returned, -errno if it has failed; 0 until then.
func ResultAt(s Step) int { return offResults + 8*int(s) }

// failedSomehow is the result of a step that has failed without an errno.
const failedSomehow = 1

// Page is the shared memory through which init tells how it went.
type Page struct {
	fd   int
	mem  []byte
	file *os.File // of fd, see File
}

// NewPage makes the page, and puts something else behind it, if that is not nil.
// Init does so before it applies any rlimits: with an RLIMIT_FSIZE of less than
// 8 KiB no file can be given that size.
func NewPage(behind []byte) (*Page, error) {
	fd, err := unix.MemfdCreate("gourd-start", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("gourd-start", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("start gate: make a memfd: %w", err)
	}
	p := &Page{fd: fd}
	if err := p.init(behind); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

func (p *Page) init(behind []byte) error {
	if err := unix.Ftruncate(p.fd, PageSize+int64(len(behind))); err != nil {
		return fmt.Errorf("start gate: set the size of the memfd: %w", err)
	}
	if len(behind) > 0 {
		if _, err := unix.Pwrite(p.fd, behind, PageSize); err != nil {
			return fmt.Errorf("start gate: write to the memfd: %w", err)
		}
	}
	// Nobody can shrink it under init's stores.
	if _, err := unix.FcntlInt(uintptr(p.fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("start gate: seal the memfd: %w", err)
	}
	mem, err := unix.Mmap(p.fd, 0, PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("start gate: map the memfd: %w", err)
	}
	p.mem = mem
	p.put(offMagic, pageMagic)
	return nil
}

// Close gives the page back. A page that was handed to Prepare is closed by
// init's end.
func (p *Page) Close() error {
	return errors.Join(unix.Munmap(p.mem), p.File().Close())
}

// File returns the page's file, for Outcome. It is closed with the page.
func (p *Page) File() *os.File {
	if p.file == nil {
		p.file = os.NewFile(uintptr(p.fd), "start gate's page")
	}
	return p.file
}

func (p *Page) put(off int, v int64) { binary.NativeEndian.PutUint64(p.mem[off:], uint64(v)) }

// text stores s in the room between two offsets, as much of it as fits.
func (p *Page) text(off, end int, s string) {
	room := p.mem[off:end]
	clear(room[copy(room, s):])
}

// readPage reads the page whose fd is f. It returns whether init has come to the
// execve, and what it has told of a failure, nil if nothing.
func readPage(f *os.File) (begun bool, failure *Error, err error) {
	var b [PageSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return false, nil, fmt.Errorf("read the start gate's page: %w", err)
	}
	get := func(off int) int64 { return int64(binary.NativeEndian.Uint64(b[off:])) }
	text := func(off, end int) string {
		s, _, _ := bytes.Cut(b[off:end], []byte{0})
		return string(bytes.ToValidUTF8(s, []byte("?")))
	}
	if get(offMagic) != pageMagic {
		return false, nil, fmt.Errorf("the start gate's page is of another version of gourd")
	}
	failed := func(s Step) *Error {
		e := &Error{Step: s, Path: text(offPath, offInterp)}
		if r := get(ResultAt(s)); r < 0 {
			e.Errno = unix.Errno(-r)
		}
		return e
	}
	if get(ResultAt(StepHooks)) != 0 {
		e := failed(StepHooks)
		e.Text = text(offText, PageSize)
		return false, e, nil
	}
	if get(BegunAt) == 0 {
		return false, nil, nil
	}
	for _, s := range [...]Step{StepLandlock, StepFilter, StepListener, StepExec} {
		if get(ResultAt(s)) >= 0 {
			continue
		}
		e := failed(s)
		if s == StepExec && e.Errno == unix.ENOENT {
			e.Interpreter = text(offInterp, offText)
		}
		return true, e, nil
	}
	return true, nil, nil
}
