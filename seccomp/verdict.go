package seccomp

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
)

// KillsThread returns whether the program, on this machine's own architecture,
// answers a system call without interesting arguments by killing the calling
// thread alone. A process of several threads then does not end but goes on
// without that one.
func (p *Program) KillsThread(number uintptr) bool {
	return p.action(number) == unix.SECCOMP_RET_KILL_THREAD
}

// Asks returns whether the program, as in KillsThread, answers the call by
// waiting for what its listener says.
func (p *Program) Asks(number uintptr) bool {
	return p.action(number) == unix.SECCOMP_RET_USER_NOTIF
}

func (p *Program) action(number uintptr) uint32 {
	native := abis[hostABIs(runtime.GOARCH)[0]]
	verdict, _ := bpfvm.Run(p.Filter, &bpfvm.Data{Number: uint32(number), Arch: native.audit}, native.big)
	return verdict & unix.SECCOMP_RET_ACTION_FULL
}
