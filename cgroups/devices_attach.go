package cgroups

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gourd-oci/gourd/internal/linux"
	"golang.org/x/sys/unix"
)

// programName tells gourd's device programs from those that a manager such as
// systemd attaches to the same cgroup. All of them must allow an access.
const programName = "gourd_devices"

// attachDevices makes d the device program of the cgroup, in the place of one
// that gourd attached before. Where p is rootless and no device node can be made
// anyway it is no error if the kernel does not let this user, only a warning:
// those that exist keep their permissions. A strict config has its rules
// nevertheless, or is refused.
func (c *Cgroup) attachDevices(p *Plan, d *Devices) error {
	err := c.replaceProgram(d)
	if err == nil {
		return nil
	}
	if p.Rootless && !p.DevicesRequired && errors.Is(err, unix.EPERM) {
		c.unenforced(p, "the kernel takes no device program of this user (it takes CAP_BPF or CAP_SYS_ADMIN)")
		return nil
	}
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (it takes CAP_BPF or CAP_SYS_ADMIN, and no cgroup above may have a device program that excludes others)", err)
	}
	return fmt.Errorf("%s: cgroup %s: %w", p.DevicesFrom, c.shown(), err)
}

// unenforced notes that the container does without its device rules.
func (c *Cgroup) unenforced(p *Plan, why string) {
	if p.DevicesGiven {
		c.warning = p.DevicesFrom + ": not enforced, but the container can make no device: " + why
	}
}

// Warning returns what the container does not get of its plan, "" if it gets all.
func (c *Cgroup) Warning() string { return c.warning }

func (c *Cgroup) replaceProgram(d *Devices) error {
	var old []int
	defer func() {
		for _, fd := range old {
			unix.Close(fd)
		}
	}()
	if !c.fresh {
		var err error
		if old, err = c.ownPrograms(); err != nil {
			return err
		}
	}
	if len(old) == 0 && d.allowAll() {
		return nil // no program denies nothing as well, and for free
	}
	prog, err := loadProgram(assemble(d))
	if err != nil {
		return err
	}
	defer prog.Close()
	if len(old) > 0 {
		flags := uint32(unix.BPF_F_ALLOW_MULTI | unix.BPF_F_REPLACE)
		err := linux.BPFProgAttach(c.fd, prog.FD(), unix.BPF_CGROUP_DEVICE, flags, old[0])
		if err == nil {
			return c.detach(old[1:])
		}
		if !errors.Is(err, unix.EINVAL) {
			return err
		}
		// A kernel before 5.6. Attached beside the old ones first: for a
		// moment both have to allow, but never is there none.
	}
	if err := linux.BPFProgAttach(c.fd, prog.FD(), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI, -1); err != nil {
		return err
	}
	return c.detach(old)
}

func (c *Cgroup) detach(progs []int) error {
	for _, fd := range progs {
		if err := linux.BPFProgDetach(c.fd, fd, unix.BPF_CGROUP_DEVICE); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// ownPrograms returns fds of the device programs that a gourd has attached to
// the cgroup. One that cannot be looked at is not gourd's.
func (c *Cgroup) ownPrograms() (fds []int, err error) {
	ids, err := linux.BPFProgQuery(c.fd, unix.BPF_CGROUP_DEVICE)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		fd, err := linux.BPFProgByID(id)
		if err != nil {
			continue
		}
		name, err := linux.BPFProgName(fd)
		if err != nil || name != programName {
			unix.Close(fd)
			continue
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// loadProgram loads a program. Kernels before 5.11 count its memory against
// RLIMIT_MEMLOCK: there the limit is lifted for as long as it takes, if that
// is allowed, and put back since a container would inherit it.
//
// Attaching is left to package linux: ebpf/link would bring perf events, DWARF
// and XML into every start of gourd.
func loadProgram(insns asm.Instructions) (*ebpf.Program, error) {
	load := func() (*ebpf.Program, error) {
		return ebpf.NewProgram(&ebpf.ProgramSpec{Name: programName, Type: ebpf.CGroupDevice, License: "Apache-2.0", Instructions: insns})
	}
	prog, err := load()
	if !errors.Is(err, unix.EPERM) {
		return prog, err
	}
	var was unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was) != nil || was.Cur == unix.RLIM_INFINITY {
		return nil, err
	}
	for _, lim := range [...]uint64{unix.RLIM_INFINITY, was.Max} {
		if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: lim, Max: max(lim, was.Max)}) != nil {
			continue
		}
		prog, err := load()
		if errBack := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was); errBack != nil {
			if err == nil {
				prog.Close()
			}
			return nil, errors.Join(err, fmt.Errorf("put RLIMIT_MEMLOCK back: %w", errBack))
		}
		return prog, err
	}
	return nil, err
}
