package credentials

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/linux"
)

// Scheduler is process.scheduler in the kernel's terms (sched_setattr(2)).
type Scheduler struct {
	Policy                    uint32
	Flags                     uint64
	Nice                      int32
	Priority                  uint32
	Runtime, Deadline, Period uint64 // nanoseconds
}

// IOPriority is process.ioPriority in the kernel's terms (ioprio_set(2)).
type IOPriority struct{ Class, Level int }

// schedISO is SCHED_ISO of linux/sched.h, reserved and not implemented by the
// kernel itself: whether this one has it shows when it is set.
const schedISO = 4

func schedPolicy(p specs.LinuxSchedulerPolicy) (uint32, bool) {
	switch p {
	case specs.SchedOther:
		return unix.SCHED_NORMAL, true
	case specs.SchedFIFO:
		return unix.SCHED_FIFO, true
	case specs.SchedRR:
		return unix.SCHED_RR, true
	case specs.SchedBatch:
		return unix.SCHED_BATCH, true
	case specs.SchedISO:
		return schedISO, true
	case specs.SchedIdle:
		return unix.SCHED_IDLE, true
	case specs.SchedDeadline:
		return unix.SCHED_DEADLINE, true
	}
	return 0, false
}

func schedFlag(f specs.LinuxSchedulerFlag) (uint64, bool) {
	switch f {
	case specs.SchedFlagResetOnFork:
		return unix.SCHED_FLAG_RESET_ON_FORK, true
	case specs.SchedFlagReclaim:
		return unix.SCHED_FLAG_RECLAIM, true
	case specs.SchedFlagDLOverrun:
		return unix.SCHED_FLAG_DL_OVERRUN, true
	case specs.SchedFlagKeepPolicy:
		return unix.SCHED_FLAG_KEEP_POLICY, true
	case specs.SchedFlagKeepParams:
		return unix.SCHED_FLAG_KEEP_PARAMS, true
	case specs.SchedFlagUtilClampMin:
		return unix.SCHED_FLAG_UTIL_CLAMP_MIN, true
	case specs.SchedFlagUtilClampMax:
		return unix.SCHED_FLAG_UTIL_CLAMP_MAX, true
	}
	return 0, false
}

// compileScheduler checks the rules of sched(7) that do not depend on the host.
func compileScheduler(s *specs.Scheduler, d *defect.List) *Scheduler {
	if s == nil {
		return nil
	}
	out := &Scheduler{Nice: s.Nice, Priority: uint32(s.Priority), Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
	policy, ok := schedPolicy(s.Policy)
	if !ok {
		d.Add("process.scheduler.policy", "%q is not a scheduling policy", string(s.Policy))
		return out
	}
	out.Policy = policy
	for i, f := range s.Flags {
		bit, ok := schedFlag(f)
		if !ok {
			d.Add(fmt.Sprintf("process.scheduler.flags[%d]", i), "%q is not a scheduling flag", string(f))
		}
		out.Flags |= bit
	}
	if s.Nice < -20 || s.Nice > 19 {
		d.Add("process.scheduler.nice", "%d is not between -20 and 19", s.Nice)
	}
	switch policy {
	case unix.SCHED_FIFO, unix.SCHED_RR:
		if s.Priority < 1 || s.Priority > 99 {
			d.Add("process.scheduler.priority", "%d is not between 1 and 99, as %s needs it", s.Priority, s.Policy)
		}
	default:
		if s.Priority != 0 {
			d.Add("process.scheduler.priority", "%s has no priority", s.Policy)
		}
	}
	if policy != unix.SCHED_DEADLINE {
		if s.Runtime != 0 || s.Deadline != 0 || s.Period != 0 {
			d.Add("process.scheduler", "runtime, deadline and period are SCHED_DEADLINE's, not %s's", s.Policy)
		}
	} else if s.Runtime == 0 || s.Runtime > s.Deadline || s.Period != 0 && s.Deadline > s.Period {
		d.Add("process.scheduler", "SCHED_DEADLINE needs 0 < runtime %d <= deadline %d <= period %d (0: the deadline)", s.Runtime, s.Deadline, s.Period)
	}
	return out
}

func compileIOPriority(p *specs.LinuxIOPriority, d *defect.List) *IOPriority {
	if p == nil {
		return nil
	}
	out := &IOPriority{Level: p.Priority}
	switch p.Class {
	case specs.IOPRIO_CLASS_RT:
		out.Class = 1
	case specs.IOPRIO_CLASS_BE:
		out.Class = 2
	case specs.IOPRIO_CLASS_IDLE:
		out.Class = 3
	default:
		d.Add("process.ioPriority.class", "%q is not an I/O scheduling class", string(p.Class))
	}
	if p.Priority < 0 || p.Priority > 7 {
		d.Add("process.ioPriority.priority", "%d is not between 0 and 7", p.Priority)
	}
	return out
}

// compilePersonality takes the two domains and no flag, as the spec has it.
func compilePersonality(p *specs.LinuxPersonality, d *defect.List) *uint32 {
	if p == nil {
		return nil
	}
	var domain uint32
	switch p.Domain {
	case specs.PerLinux:
		domain = 0x0000
	case specs.PerLinux32:
		domain = 0x0008
	default:
		d.Add("linux.personality.domain", "%q is not LINUX or LINUX32", string(p.Domain))
	}
	if len(p.Flags) > 0 {
		d.Add("linux.personality.flags", "the spec defines no flags, so %q is not one", p.Flags)
	}
	return &domain
}

// setScheduling sets scheduler, I/O priority, personality and memory policy of
// the calling thread; the first two may need CAP_SYS_NICE in the initial user
// namespace.
func (p *Plan) setScheduling() error {
	if !p.FromOutside {
		if err := p.SetScheduling(0); err != nil {
			return err
		}
	}
	if p.Personality != nil {
		if err := linux.SetPersonality(*p.Personality); err != nil {
			return fmt.Errorf("linux.personality: set %#x: %w", *p.Personality, err)
		}
	}
	return p.SetMemoryPolicy()
}

// SetScheduling sets scheduler and I/O priority of a thread, which is the first
// one of the process that init is; 0 is the caller.
func (p *Plan) SetScheduling(tid int) error {
	if s := p.Scheduler; s != nil {
		err := unix.SchedSetAttr(tid, &unix.SchedAttr{
			Policy: s.Policy, Flags: s.Flags, Nice: s.Nice, Priority: s.Priority,
			Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
		}, 0)
		if errors.Is(err, unix.EPERM) && s.Policy == unix.SCHED_DEADLINE {
			err = fmt.Errorf("%w (SCHED_DEADLINE needs CAP_SYS_NICE, and cannot be used on a part of the CPUs)", err)
		}
		if err != nil {
			return fmt.Errorf("process.scheduler: set policy %d, flags %#x, nice %d, priority %d: %w", s.Policy, s.Flags, s.Nice, s.Priority, err)
		}
	}
	if io := p.IOPriority; io != nil {
		if err := linux.SetIOPriority(tid, io.Class, io.Level); err != nil {
			return fmt.Errorf("process.ioPriority: set class %d, priority %d: %w", io.Class, io.Level, err)
		}
	}
	return nil
}
