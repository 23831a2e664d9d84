package notify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// missingInterpreter returns the path of a program's interpreter, a script's
// or an ELF file's, if that does not exist, and "" in every other case, also
// when nothing can be found out: it is for the text of an error. execve says
// ENOENT for a missing interpreter as it does for a missing program, and once
// it has said so a filter may forbid to look.
func missingInterpreter(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	return missing(fd, func(interp string) error { return unix.Access(interp, unix.F_OK) })
}

// NoteInterpreter notes on the page, as Prepare does, the interpreter of the program
// whose path is there, if it is missing: for an init that cannot look by itself, whose
// root directory and working directory these are.
func (p *Page) NoteInterpreter(root int, cwd string) {
	path, _, _ := bytes.Cut(p.mem[offPath:offInterp], []byte{0})
	program := string(path)
	if !strings.HasPrefix(program, "/") {
		program = cwd + "/" + program
	}
	fd, err := linux.OpenRegularInRoot(root, program)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	p.text(offInterp, offText, missing(fd, func(interp string) error {
		fd, err := linux.OpenInRoot(root, interp, unix.O_PATH, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}))
}

// missing is missingInterpreter of an open program.
func missing(fd int, look func(interp string) error) string {
	var head [4096]byte
	n, err := unix.Pread(fd, head[:], 0)
	if err != nil {
		return ""
	}
	interp := scriptInterpreter(head[:n])
	if interp == "" {
		interp = elfInterpreter(head[:n])
	}
	if interp == "" || !errors.Is(look(interp), unix.ENOENT) {
		return ""
	}
	return interp
}

// scriptInterpreter returns what follows "#!", without its argument.
func scriptInterpreter(head []byte) string {
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	line = bytes.TrimLeft(line, " \t")
	if i := bytes.IndexAny(line, " \t\x00"); i >= 0 {
		line = line[:i]
	}
	return string(line)
}

// elfInterpreter returns the PT_INTERP of an ELF file that has it, and its
// program headers, in its first bytes, as linkers arrange (elf(5)).
func elfInterpreter(head []byte) string {
	const ptInterp = 3
	if len(head) < 64 || string(head[:4]) != "\x7fELF" {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	// Offsets of e_phoff, e_phentsize and e_phnum; of p_offset and p_filesz.
	wide := head[4] == 2
	word := func(b []byte, off32, off64 int) uint64 {
		if wide {
			return order.Uint64(b[off64:])
		}
		return uint64(order.Uint32(b[off32:]))
	}
	half := func(off32, off64 int) uint64 {
		if wide {
			return uint64(order.Uint16(head[off64:]))
		}
		return uint64(order.Uint16(head[off32:]))
	}
	phoff, phentsize, phnum := word(head, 28, 32), half(42, 54), half(44, 56)
	if phentsize < 32 || wide && phentsize < 56 {
		return ""
	}
	size := uint64(len(head))
	for i := range phnum {
		at := phoff + i*phentsize
		if at > size || size-at < phentsize {
			return ""
		}
		ph := head[at : at+phentsize]
		if order.Uint32(ph) != ptInterp {
			continue
		}
		off, length := word(ph, 4, 8), word(ph, 16, 32)
		if off > size || length > size-off {
			return ""
		}
		s, _, _ := bytes.Cut(head[off:off+length], []byte{0})
		return string(s)
	}
	return ""
}
