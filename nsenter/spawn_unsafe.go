//go:build amd64 || arm64 || riscv64

package nsenter

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// supported says that this architecture has an interpreter.
const supported = true

// spawn makes a child with the clone3 or clone of l, all signals blocked in
// both, and sets this thread's mask back. In the parent it returns the child's
// pid or -errno. The child never returns: it interprets the image. It uses no
// stack, so that it may share the memory (CLONE_VM).
//
// Preconditions: every address in l and in the image is of the heap and is
// kept alive until the child has executed another program or ended; the clone
// names no stack; this thread's mask is l.mask.
func spawn(l *launch) int

// interpret is never called from Go: its registers are set by spawn, or in
// the stub by entry.
//
//lint:ignore U1000 go vet wants a declaration of what the assembly defines
func interpret()

// interpretPC returns the address of the code of interpret.
func interpretPC() unsafe.Pointer

// endOfCode ends the code of interpret.
const endOfCode = "gourdend"

// interpreterCode returns the machine code of interpret. The bytes are in the
// text segment, which is readable and never changes; the loop ends, since the
// assembly ends with endOfCode.
func interpreterCode() []byte {
	start := (*byte)(interpretPC())
	for n := 0; ; n++ {
		code := unsafe.Slice(start, n+len(endOfCode))
		if string(code[n:]) == endOfCode {
			return code[:n]
		}
	}
}

// newLaunch returns a launch on the heap, which does not move.
//
//go:noinline
func newLaunch() *launch { return new(launch) }

// newImage returns n bytes on the heap, aligned to a word, and their address.
//
//go:noinline
func newImage(n int) ([]byte, uint64) {
	b := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), n), uint64(uintptr(unsafe.Pointer(&b[0])))
}

// use makes l call clone3, or clone if not clone3. Its addresses point into l
// itself, so l must be of newLaunch.
func (l *launch) use(clone3 bool, flags uint64, cgroup int) {
	pidfd := uint64(uintptr(unsafe.Pointer(&l.pidfd)))
	if !clone3 {
		l.trap = unix.SYS_CLONE
		l.args = [5]uint64{flags | uint64(unix.SIGCHLD), 0, pidfd}
		return
	}
	l.trap = unix.SYS_CLONE3
	l.clone = cloneArgs{flags: flags, pidfd: pidfd, exitSignal: uint64(unix.SIGCHLD)}
	size := uint64(cloneArgsSize0)
	if flags&unix.CLONE_INTO_CGROUP != 0 {
		l.clone.cgroup = uint64(cgroup)
		size = cloneArgsSize2
	}
	l.args = [5]uint64{uint64(uintptr(unsafe.Pointer(&l.clone))), size}
}
