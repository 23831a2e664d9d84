package credentials

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// carry.go: capabilities over one more execve, of a program of gourd's own that
// executes the process. An execve takes away what is not ambient from whoever is
// not root, and from root what is neither bounding nor inheritable
// (capabilities(7)). So what the thread has becomes all of that, for this one
// step. ApplyCarrying has put it into the inheritable set, while nothing was dropped from
// the bounding one yet: afterwards it could not.
//
// The program then sets the sets that the process is to be executed with.

// extraCaps are those that the thread has beyond the plan's until the execve.
func (p *Plan) extraCaps() uint64 {
	if p.KeepSysAdmin {
		return 1 << unix.CAP_SYS_ADMIN
	}
	return 0
}

func (p *Plan) carried() uint64 { return p.Capabilities.Permitted | p.extraCaps() }

// Carry comes right before the execve of the other program. No capability is
// effective any more then: the kernel is to see that the thread may not read the
// program, also as root, so that it makes it undumpable.
func (p *Plan) Carry() error {
	caps := linux.Caps{Permitted: p.carried(), Inheritable: p.Capabilities.Inheritable | p.carried()}
	for n := 0; n <= p.Capabilities.LastCap; n++ {
		if caps.Permitted&(1<<n) == 0 {
			continue
		}
		if err := linux.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n)); err != nil {
			return fmt.Errorf("carry capability %d over an execve: %w", n, err)
		}
	}
	if err := linux.SetThreadCaps(caps); err != nil {
		return fmt.Errorf("carry the capabilities over an execve: %w", err)
	}
	return nil
}

// PutDown takes back Carry and what ApplyCarrying has done for it, where the other
// program is not executed: the process is executed from here after all.
func (p *Plan) PutDown() error { return p.Capabilities.set(p.extraCaps()) }
