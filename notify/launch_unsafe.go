package notify

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// launch is the way from the gate to the user's program, prepared: what the
// kernel reads lives on the heap, where it does not move, and is kept alive by
// the launch.
type launch struct {
	begun, restricted, filtered, delivered, executed *int64 // in the page

	path       *byte
	argv, envv []*byte // each ends with a nil
	ruleset    uintptr // 0: none
	prog       *unix.SockFprog
	flags      uintptr
	noExit     bool
	courier    *courier // nil unless there is a listener to deliver
	mask       uint64   // for the program
	preserve   uintptr  // the first fd that the program does not inherit, from 3 on
}

func newLaunch(p *Page, e *Exec) (*launch, error) {
	word := func(off int) *int64 { return (*int64)(unsafe.Pointer(&p.mem[off])) }
	l := &launch{
		begun: word(BegunAt), restricted: word(ResultAt(StepLandlock)), filtered: word(ResultAt(StepFilter)),
		delivered: word(ResultAt(StepListener)), executed: word(ResultAt(StepExec)),
	}
	l.preserve = uintptr(3 + e.Preserve)
	l.ruleset = uintptr(e.Ruleset)
	var err error
	if l.path, err = unix.BytePtrFromString(e.Path); err != nil {
		return nil, fmt.Errorf("program %q: %w", e.Path, err)
	}
	if l.argv, err = syscall.SlicePtrFromStrings(e.Argv); err != nil {
		return nil, fmt.Errorf("process.args: %w", err)
	}
	if l.envv, err = syscall.SlicePtrFromStrings(e.Env); err != nil {
		return nil, fmt.Errorf("process.env: %w", err)
	}
	if f := e.Filter; f != nil {
		l.prog = &unix.SockFprog{Len: uint16(len(f.Prog)), Filter: &f.Prog[0]}
		l.flags = uintptr(f.Flags)
		l.noExit = f.NoExit
		if f.Agent != nil {
			if l.courier, err = newCourier(f.Agent, l); err != nil {
				return nil, err
			}
		}
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, 0, uintptr(unsafe.Pointer(&l.mask)), sigsetSize, 0, 0); errno != 0 {
		return nil, fmt.Errorf("read the signal mask: %w", errno)
	}
	return l, nil
}

const (
	sigsetSize = 8  // the kernel's sigset_t, in bytes
	maxSignal  = 64 // _NSIG

	setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
)

// sigaction is no smaller than the kernel's struct on any architecture. Its
// handler is the first word on each; all zeros is SIG_DFL, no flags, no mask.
type sigaction [4]uint64

// run executes the program or ends the process. As in waiting, nothing here
// checks the stack.
//
//go:nosplit
func (l *launch) run() {
	l.quiesce()
	for fd := uintptr(3); fd < l.preserve; fd++ {
		unix.RawSyscall(unix.SYS_FCNTL, fd, unix.F_SETFD, 0)
	}
	l.exec()
}

// quiesce takes the Go runtime's signal handlers away, so that no signal runs
// Go code any more: a handler's return is a system call that the filter may
// forbid. It leaves ignored signals ignored, as execve does. And the fault
// that ends the process, should nothing else do, needs SIGSEGV's default.
//
// All signals are blocked meanwhile, so that none finds half of the handlers.
//
//go:nosplit
func (l *launch) quiesce() {
	all := ^uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), 0, sigsetSize, 0, 0)
	var dfl, old sigaction
	for sig := uintptr(1); sig <= maxSignal; sig++ {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&old)), sigsetSize, 0, 0)
		if errno == 0 && old[0] > 1 { // neither SIG_DFL nor SIG_IGN
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&dfl)), 0, sigsetSize, 0, 0)
		}
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&l.mask)), 0, sigsetSize, 0, 0)
}

// exec calls nothing but assembly: once the filter is loaded, a system call of
// the Go runtime's might be denied.
//
//go:nosplit
func (l *launch) exec() {
	atomic.StoreInt64(l.begun, 1)
	if l.ruleset != 0 { // before the filter, which may forbid it
		if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, l.ruleset, 0, 0); errno != 0 {
			atomic.StoreInt64(l.restricted, -int64(errno))
			l.die()
		}
	}
	if l.courier != nil {
		l.courier.call()
	}
	if l.prog != nil {
		r, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, l.flags, uintptr(unsafe.Pointer(l.prog)))
		if errno == 0 && r != 0 && l.courier == nil {
			errno = unix.ESRCH // TSYNC: this thread could not be synchronised
		}
		if errno != 0 {
			atomic.StoreInt64(l.filtered, -int64(errno))
			l.die()
		}
		if l.courier != nil {
			l.courier.deliver(r)
		}
	}
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(l.path)),
		uintptr(unsafe.Pointer(&l.argv[0])), uintptr(unsafe.Pointer(&l.envv[0])))
	atomic.StoreInt64(l.executed, -int64(errno))
	l.die()
}

// die ends the process, all of its threads, against any filter: what a filter
// cannot forbid is a fault, and the kernel kills even a pid 1 for one. Not
// exit(2): that would end this thread alone, and its connection would stay
// open in the others.
//
//go:nosplit
func (l *launch) die() {
	if !l.noExit {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
	for {
		*nowhere(l) = 0
	}
}

// nowhere returns an address that is never mapped: the second byte of the
// address space (vm.mmap_min_addr; and nothing of gourd's maps there).
//
//go:nosplit
//go:noinline
func nowhere(l *launch) *byte {
	var null *byte
	return (*byte)(unsafe.Add(unsafe.Pointer(null), 1))
}
