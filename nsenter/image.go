package nsenter

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// header is the start of an image: what the interpreter itself needs. The
// assembly reads the first four words by the offsets of these fields.
type header struct {
	first uint64 // address of the first op
	fail  uint64 // address of the op to go on with after a failure
	index uint64 // of the step that failed; with errno, the message to the parent
	errno uint64 // its result, which is -errno
	mask  uint64 // the signal mask that the final program gets
}

// op is a Step as the interpreter reads it, with every address resolved. The
// assembly uses the offsets of these fields.
type op struct {
	kind   uint64
	trap   uint64
	args   [6]uint64
	load   uint64 // bit i: args[i] is the address of the argument
	save   uint64 // address to store the result at, or 0
	allow  uint64
	target uint64 // address of an op
	index  uint64
}

const (
	headerSize = 5 * 8
	opSize     = 13 * 8
	failIndex  = 2 * 8 // offset of header.index
	maskAt     = 4 * 8 // offset of header.mask
)

// end says how a child that failed ends: it tells the parent, gives back the
// signal mask and exits, or if it may not, falls over. These are ordinary ops behind those of the table.
type end struct {
	socket int    // the child's end of the conversation
	mask   uint64 // the signal mask to give back
}

// endSteps is how many steps end adds.
const endSteps = 4

// exitFailed is the exit status of a child that has sent why it failed.
const exitFailed = 70

// argMask is the address of the signal mask to give back. It is the one
// address that is not in a table's data; offsets of data are never as large.
var argMask = Arg{argAddr, ^uintptr(0)}

// size returns the length of the image of t in bytes.
func (t *Table) size() int { return headerSize + (len(t.Steps)+endSteps)*opSize + len(t.data) }

// link writes the image of t, which the interpreter executes at the address
// base, into img, whose length is t.size().
//
//	header | an op a step | the ops of a failure | data
func (t *Table) link(img []byte, base uint64, e end) {
	ops := base + headerSize
	fail := ops + uint64(len(t.Steps))*opSize
	data := fail + endSteps*opSize
	h := header{first: ops, fail: fail, mask: e.mask}
	at := h.append(img[:0])
	for i := range t.Steps {
		s := &t.Steps[i]
		target := ops + uint64(i+1)*opSize
		if s.Target != 0 {
			target = ops + uint64(s.Target)*opSize
		}
		o := op{kind: uint64(s.Kind), trap: uint64(s.Trap), allow: s.Allow, target: target, index: uint64(t.First + i)}
		for j, a := range s.Args {
			o.args[j] = a.resolve(base, data)
			if a.kind == argValue {
				o.load |= 1 << j
			}
		}
		if s.Kind == Jump && s.Args[2] == (Arg{}) {
			o.args[2] = ^uint64(0)
		}
		if s.Save != (Arg{}) {
			o.save = s.Save.resolve(base, data)
		}
		at = o.append(at)
	}
	for i, s := range e.steps(base) {
		s.allow = AnyErrno
		s.target = fail + uint64(i+1)*opSize
		at = s.append(at)
	}
	at = append(at, t.data...)
	d := at[len(at)-len(t.data):]
	for _, p := range t.ptrs {
		setWord(d[p:], data+binary.LittleEndian.Uint64(d[p:]))
	}
}

func (a Arg) resolve(base, data uint64) uint64 {
	switch {
	case a == argMask:
		return base + maskAt
	case a.kind == argNum:
		return uint64(a.n)
	}
	return data + uint64(a.n)
}

func (h *header) append(b []byte) []byte {
	b = putWord(b, h.first)
	b = putWord(b, h.fail)
	b = putWord(b, h.index)
	b = putWord(b, h.errno)
	return putWord(b, h.mask)
}

func (o *op) append(b []byte) []byte {
	b = putWord(b, o.kind)
	b = putWord(b, o.trap)
	for _, a := range o.args {
		b = putWord(b, a)
	}
	b = putWord(b, o.load)
	b = putWord(b, o.save)
	b = putWord(b, o.allow)
	b = putWord(b, o.target)
	return putWord(b, o.index)
}

// The images are of little-endian machines, as all that have an interpreter.

func putWord(b []byte, w uint64) []byte { return binary.LittleEndian.AppendUint64(b, w) }
func setWord(b []byte, w uint64)        { binary.LittleEndian.PutUint64(b, w) }

// steps returns the ops of a failure, for an image at base.
func (e end) steps(base uint64) [endSteps]op {
	return [endSteps]op{
		{trap: unix.SYS_SENDTO, args: [6]uint64{uint64(e.socket), base + failIndex, messageSize, unix.MSG_NOSIGNAL}},
		{trap: unix.SYS_RT_SIGPROCMASK, args: [6]uint64{unix.SIG_SETMASK, base + maskAt, 0, 8}},
		{trap: unix.SYS_EXIT_GROUP, args: [6]uint64{exitFailed}},
		// A seccomp filter may deny all of these. Nothing is at address 0.
		{load: 1},
	}
}
