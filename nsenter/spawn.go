package nsenter

import "golang.org/x/sys/unix"

// launch is what spawn reads; the assembly uses the offsets of its fields.
type launch struct {
	trap  uint64    // SYS_CLONE3 or SYS_CLONE
	args  [5]uint64 // and its arguments
	image uint64    // address of the child's image
	all   uint64    // the set of all signals
	mask  uint64    // this thread's signal mask

	clone cloneArgs
	pidfd int32
}

// cloneArgs is struct clone_args (clone(2)).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64 // Linux 5.3
	setTID, setTIDSize                                                   uint64 // Linux 5.5
	cgroup                                                               uint64 // Linux 5.7
}

// Sizes of struct clone_args: a kernel refuses a larger one than it knows.
const (
	cloneArgsSize0 = 64 // the first one
	cloneArgsSize2 = 88 // with cgroup
)

// ownMask returns the signal mask of this thread, to which the caller is
// locked. Go's runtime keeps the mask that the process was started with.
func ownMask() (uint64, error) {
	var set unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &set); err != nil {
		return 0, err
	}
	return uint64(set.Val[0]), nil
}
