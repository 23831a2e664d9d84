package nsenter

import (
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/bornwith"
)

// OriginalNofile returns the RLIMIT_NOFILE that the process was started with,
// before Go raised the soft limit. Start restores it in the child.
func OriginalNofile() unix.Rlimit {
	soft, hard, ok := bornwith.Nofile()
	if !ok {
		var now unix.Rlimit
		// It fails for no process that asks about itself.
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &now)
		return now
	}
	return unix.Rlimit{Cur: soft, Max: hard}
}

// raisedNofile returns the limit to restore, or nil if Go raised nothing:
// package syscall leaves a soft limit that is the hard one or one less.
func raisedNofile() *[2]uint64 {
	soft, hard, ok := bornwith.Nofile()
	if !ok || soft+1 >= hard {
		return nil
	}
	return &[2]uint64{soft, hard}
}
