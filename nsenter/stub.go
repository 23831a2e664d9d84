package nsenter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// errUnsupported is the error where there is no interpreter.
var errUnsupported = fmt.Errorf("no interpreter for the architecture %s: %w", runtime.GOARCH, errors.ErrUnsupported)

// Where the stub's two segments are. The image begins at stubImage, in memory
// and, less its high part, in the file; so the entry code has to load only
// one constant whose low 16 bits are 0. 64 KiB is the largest page size of
// the architectures; in the file it is a hole.
const (
	stubCode   = 0x400000
	stubImage  = 0x600000
	imageInELF = 0x10000
)

const (
	elfHeaderSize  = 64
	progHeaderSize = 56
	codeInELF      = elfHeaderSize + 3*progHeaderSize
)

// stubHead returns the ELF file up to its image: the headers and the
// interpreter. The file is a static ELF executable without sections and
// without relocations:
//
//	0       ELF header, program headers, entry code, interpreter   r-x at 0x400000
//	0x10000 image: header, ops, data                               rw- at 0x600000
func stubHead(imageSize int) []byte {
	entry, machine := stubEntry()
	code := interpreterCode()
	n := codeInELF + len(entry) + len(code)
	b := make([]byte, 0, n)
	le := binary.LittleEndian

	b = append(b, 0x7f, 'E', 'L', 'F', 2 /*64 bit*/, 1 /*little-endian*/, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, stubCode+codeInELF) // entry
	b = le.AppendUint64(b, elfHeaderSize)      // program headers
	b = le.AppendUint64(b, 0)                  // no sections
	b = le.AppendUint32(b, elfFlags)
	b = le.AppendUint16(b, elfHeaderSize)
	b = le.AppendUint16(b, progHeaderSize)
	b = le.AppendUint16(b, 3)
	b = le.AppendUint16(b, 64) // section header size, for none
	b = le.AppendUint32(b, 0)

	const load, gnuStack = 1, 0x6474e551
	const x, w, r = 1, 2, 4
	b = progHeader(b, load, r|x, 0, stubCode, n)
	b = progHeader(b, load, r|w, imageInELF, stubImage, imageSize)
	b = progHeader(b, gnuStack, r|w, 0, 0, 0)
	b = append(b, entry...)
	return append(b, code...)
}

func progHeader(b []byte, kind, flags uint32, offset, addr uint64, size int) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, kind)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, offset)
	b = le.AppendUint64(b, addr)
	b = le.AppendUint64(b, addr)
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint64(b, uint64(size))
	return le.AppendUint64(b, imageInELF) // alignment
}

// Stub returns a static ELF program that does nothing but interpret t, which
// ends in an execveat: what a process is that joins a container's namespaces,
// so that the container never finds a file of the host in its /proc/PID/exe.
// Its failing steps are sent to the file descriptor socket, as {index, -errno};
// mask is the signal mask for the program. The error is errors.ErrUnsupported
// where there is no interpreter.
func Stub(t *Table, socket int, mask uint64) ([]byte, error) {
	if !supported {
		return nil, errUnsupported
	}
	head, image := stubParts(t, end{socket, mask})
	elf := make([]byte, imageInELF+len(image))
	copy(elf, head)
	copy(elf[imageInELF:], image)
	return elf, nil
}

// StubFile returns the stub of t, which tells nobody of a step that fails, as a
// file that can only be executed: nobody can read it or change it. Its process
// is undumpable from its first instruction on where the one that executes it may
// not read what it may not by the file's mode (CAP_DAC_OVERRIDE and
// CAP_DAC_READ_SEARCH are not effective). A failing step gives back the signal
// mask before it ends the process.
func StubFile(name string, t *Table, mask uint64) (*os.File, error) {
	if !supported {
		return nil, errUnsupported
	}
	return stubFile(name, t, end{-1, mask})
}

// stubFile returns the stub of t as a file that can only be executed. The
// hole between its two parts takes no memory.
func stubFile(name string, t *Table, e end) (*os.File, error) {
	head, image := stubParts(t, e)
	return immutable(name, func(fd int) error {
		if _, err := unix.Pwrite(fd, head, 0); err != nil {
			return err
		}
		_, err := unix.Pwrite(fd, image, imageInELF)
		return err
	})
}

func stubParts(t *Table, e end) (head, image []byte) {
	image = make([]byte, t.size())
	t.link(image, stubImage, e)
	return stubHead(len(image)), image
}
