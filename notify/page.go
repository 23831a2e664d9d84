package notify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The page's layout; the numbers are in the machine's byte order. A text ends
// at its first byte 0 or the end of its room.
const (
	offMagic  = 0
	offState  = 4
	offErrno  = 8
	offStep   = 12
	offPath   = 16
	offInterp = offPath + 2048
	offText   = offInterp + 512
	pageSize  = 8192

	pageMagic = 0x67726431 // tells a page of another gourd apart
)

// What the page's state says, in the order in which it becomes true.
const (
	stateWaiting   = iota // at the gate, or running startContainer hooks
	stateFailed           // Fail was called
	stateExecuting        // the filter and the execve are next
)

// Page is the shared memory through which init tells how it went.
type Page struct {
	fd  int
	mem []byte
}

// NewPage makes the page. Init does so before it applies any rlimits: with an
// RLIMIT_FSIZE of less than 8 KiB no file can be given that size.
func NewPage() (*Page, error) {
	fd, err := unix.MemfdCreate("gourd-start", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("gourd-start", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("start gate: make a memfd: %w", err)
	}
	p := &Page{fd: fd}
	if err := p.init(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

func (p *Page) init() error {
	if err := unix.Ftruncate(p.fd, pageSize); err != nil {
		return fmt.Errorf("start gate: set the size of the memfd: %w", err)
	}
	// Nobody can shrink it under init's stores.
	if _, err := unix.FcntlInt(uintptr(p.fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("start gate: seal the memfd: %w", err)
	}
	mem, err := unix.Mmap(p.fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
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
	err := unix.Munmap(p.mem)
	if cerr := unix.Close(p.fd); err == nil {
		err = cerr
	}
	return err
}

func (p *Page) put(off int, v uint32) { binary.NativeEndian.PutUint32(p.mem[off:], v) }

// text stores s in the room between two offsets, as much of it as fits.
func (p *Page) text(off, end int, s string) {
	room := p.mem[off:end]
	clear(room[copy(room, s):])
}

// readPage reads the page whose fd is f, and returns the state and, if init
// has told of a failure, that.
func readPage(f *os.File) (state uint32, failure *Error, err error) {
	var b [pageSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0, nil, fmt.Errorf("read the start gate's page: %w", err)
	}
	get := func(off int) uint32 { return binary.NativeEndian.Uint32(b[off:]) }
	text := func(off, end int) string {
		s, _, _ := bytes.Cut(b[off:end], []byte{0})
		return string(bytes.ToValidUTF8(s, []byte("?")))
	}
	if get(offMagic) != pageMagic {
		return 0, nil, fmt.Errorf("the start gate's page is of another version of gourd")
	}
	state = get(offState)
	e := &Error{Step: Step(get(offStep)), Errno: unix.Errno(get(offErrno)), Path: text(offPath, offInterp)}
	switch {
	case state == stateFailed:
		e.Text = text(offText, pageSize)
		return state, e, nil
	case state == stateExecuting && e.Errno != 0:
		if e.Step == StepExec && e.Errno == unix.ENOENT {
			e.Interpreter = text(offInterp, offText)
		}
		return state, e, nil
	}
	return state, nil, nil
}
