package credentials

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// Rlimit is one entry of process.rlimits.
type Rlimit struct {
	Resource   int // RLIMIT_*
	Soft, Hard uint64
	Index      int // in process.rlimits
}

// rlimit returns the number of a resource (getrlimit(2)).
func rlimit(name string) (int, bool) {
	switch name {
	case "RLIMIT_AS":
		return unix.RLIMIT_AS, true
	case "RLIMIT_CORE":
		return unix.RLIMIT_CORE, true
	case "RLIMIT_CPU":
		return unix.RLIMIT_CPU, true
	case "RLIMIT_DATA":
		return unix.RLIMIT_DATA, true
	case "RLIMIT_FSIZE":
		return unix.RLIMIT_FSIZE, true
	case "RLIMIT_LOCKS":
		return unix.RLIMIT_LOCKS, true
	case "RLIMIT_MEMLOCK":
		return unix.RLIMIT_MEMLOCK, true
	case "RLIMIT_MSGQUEUE":
		return unix.RLIMIT_MSGQUEUE, true
	case "RLIMIT_NICE":
		return unix.RLIMIT_NICE, true
	case "RLIMIT_NOFILE":
		return unix.RLIMIT_NOFILE, true
	case "RLIMIT_NPROC":
		return unix.RLIMIT_NPROC, true
	case "RLIMIT_RSS":
		return unix.RLIMIT_RSS, true
	case "RLIMIT_RTPRIO":
		return unix.RLIMIT_RTPRIO, true
	case "RLIMIT_RTTIME":
		return unix.RLIMIT_RTTIME, true
	case "RLIMIT_SIGPENDING":
		return unix.RLIMIT_SIGPENDING, true
	case "RLIMIT_STACK":
		return unix.RLIMIT_STACK, true
	}
	return 0, false
}

func compileRlimits(list []specs.POSIXRlimit, d *defect.List) []Rlimit {
	var out []Rlimit
	for i, r := range list {
		path := fmt.Sprintf("process.rlimits[%d]", i)
		n, ok := rlimit(r.Type)
		if !ok {
			d.Add(path+".type", "%q is not a resource that Linux limits", r.Type)
			continue
		}
		for _, o := range out {
			if o.Resource == n {
				d.Add(path+".type", "%s has a limit already, in [%d]", r.Type, o.Index)
			}
		}
		if r.Soft > r.Hard {
			d.Add(path+".soft", "%d is more than the hard limit, %d", r.Soft, r.Hard)
		}
		out = append(out, Rlimit{n, r.Soft, r.Hard, i})
	}
	return out
}

// RaiseLimits raises the hard limits that are to be higher than those of a
// process, by pid, 0 for the caller: what needs CAP_SYS_RESOURCE, in the
// initial user namespace. Early does it; for an init in a user namespace of
// its own the runtime does it before, from outside, and Early finds it done.
// Nothing is lowered, for that could stop init.
func (p *Plan) RaiseLimits(pid int) error {
	for _, r := range p.Rlimits {
		var have unix.Rlimit
		if err := unix.Prlimit(pid, r.Resource, nil, &have); err != nil {
			return fmt.Errorf("process.rlimits[%d]: read the limit: %w", r.Index, err)
		}
		if r.Hard <= have.Max {
			continue
		}
		if err := unix.Prlimit(pid, r.Resource, &unix.Rlimit{Cur: have.Cur, Max: r.Hard}, nil); err != nil {
			if errors.Is(err, unix.EPERM) {
				err = fmt.Errorf("%w (that needs CAP_SYS_RESOURCE, and RLIMIT_NOFILE no more than fs.nr_open)", err)
			}
			return fmt.Errorf("process.rlimits[%d]: raise the hard limit from %s to %s: %w", r.Index, Limit(have.Max), Limit(r.Hard), err)
		}
	}
	return nil
}

// Limit returns a limit as text.
func Limit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// LowerLimits sets the caller's soft and hard limits to exactly what is asked
// for. It needs no privilege after RaiseLimits, and is called as late as
// possible: from here on init may not be able to open a file or to get memory.
//
// nofile is the RLIMIT_NOFILE that gourd was started with, for when the config
// has none: the Go runtime raises the soft limit of its own process, and the
// container must not inherit that.
func (p *Plan) LowerLimits(nofile unix.Rlimit) error {
	hasNofile := false
	for _, r := range p.Rlimits {
		hasNofile = hasNofile || r.Resource == unix.RLIMIT_NOFILE
		if err := unix.Prlimit(0, r.Resource, &unix.Rlimit{Cur: r.Soft, Max: r.Hard}, nil); err != nil {
			return fmt.Errorf("process.rlimits[%d]: set soft %s, hard %s: %w", r.Index, Limit(r.Soft), Limit(r.Hard), err)
		}
	}
	if hasNofile {
		return nil
	}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &nofile, nil); err != nil {
		return fmt.Errorf("restore RLIMIT_NOFILE to soft %s, hard %s: %w", Limit(nofile.Cur), Limit(nofile.Max), err)
	}
	return nil
}
