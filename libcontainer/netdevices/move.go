package netdevices

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/trace"
)

// Moved is what has been moved, for as long as it may have to come back. The
// zero value is ready. It holds both namespaces open: that of a container whose
// init has ended would take its devices with it. It must be closed.
type Moved struct {
	host, inside     *conn
	hostNS, insideNS *os.File
	list             []moved
}

// moved is a device that is, or may be, in the container's namespace.
type moved struct {
	device Device
	was    link      // as it was on the host
	had    []address // on the host
	index  int32     // inside
}

// Close closes the namespaces; the devices stay where they are.
func (m *Moved) Close() {
	m.host.close()
	m.inside.close()
	for _, f := range []*os.File{m.hostNS, m.insideNS} {
		if f != nil {
			f.Close()
		}
	}
	*m = Moved{}
}

// Move moves the devices into the network namespace of the process pid, each
// with its permanent addresses of global scope, and sets them up. What can be
// known to fail is found out before the first of them is moved. After an error
// some may be in the namespace, for Back.
//
// found tells of a device that is not on the host, but may have been moved
// before, that this is so; without it such a device is an error.
func (m *Moved) Move(devices []Device, pid int, found bool) error {
	if len(devices) == 0 {
		return nil
	}
	defer trace.Begin("move the network devices in").End()
	if err := m.open(pid); err != nil {
		return fmt.Errorf("linux.netDevices: %w", err)
	}
	host, err := m.host.links()
	if err != nil {
		return fmt.Errorf("linux.netDevices: %w", err)
	}
	inside, err := m.inside.links()
	if err != nil {
		return fmt.Errorf("linux.netDevices: in the container's network namespace: %w", err)
	}
	addresses, err := m.host.addresses()
	if err != nil {
		return fmt.Errorf("linux.netDevices: %w", err)
	}
	list, err := match(devices, host, inside, addresses, found)
	if err != nil {
		return err
	}
	for i := range list {
		if err := m.move(&list[i]); err != nil {
			return fmt.Errorf("%s: %w", path(list[i].device.Name), err)
		}
	}
	return nil
}

// open opens both namespaces, and a connection to each.
func (m *Moved) open(pid int) (err error) {
	if m.hostNS, err = os.Open("/proc/self/ns/net"); err != nil {
		return fmt.Errorf("open the own network namespace: %w", err)
	}
	if m.insideNS, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
		return fmt.Errorf("open the container's network namespace: %w", err)
	}
	if m.host, err = dial(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends
		err := unix.Setns(int(m.insideNS.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			m.inside, err = dial()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("join the container's network namespace: %w", err)
	}
	return nil
}

// match finds the devices, and an index for each that is free inside. It is
// pure; its error tells of every device that cannot be moved.
func match(devices []Device, host, inside []link, addresses []address, found bool) ([]moved, error) {
	taken := map[int32]bool{}
	top := int32(0)
	for i := range inside {
		taken[inside[i].index] = true
		top = max(top, inside[i].index)
	}
	var list []moved
	var errs []error
	for _, d := range devices {
		there := slices.IndexFunc(inside, func(l link) bool { return l.has(d.Inside) })
		at := slices.IndexFunc(host, func(l link) bool { return l.name == d.Name })
		switch {
		case at < 0 && found && (there >= 0 || d.pattern()):
			continue
		case at < 0:
			errs = append(errs, fmt.Errorf("%s: there is no network device of this name", path(d.Name)))
			continue
		case there >= 0:
			errs = append(errs, fmt.Errorf("%s: the container's network namespace has a device %q already: %w", path(d.Name), d.Inside, unix.EEXIST))
			continue
		}
		one := moved{device: d, was: host[at], index: host[at].index}
		if taken[one.index] {
			top++
			one.index = top
		}
		taken[one.index] = true
		top = max(top, one.index)
		for _, a := range addresses {
			if a.index == one.was.index {
				one.had = append(one.had, a)
			}
		}
		list = append(list, one)
	}
	return list, errors.Join(errs...)
}

// move moves one device.
func (m *Moved) move(one *moved) error {
	m.list = append(m.list, *one) // the kernel moves first and renames then: also after its error it may be inside
	if err := m.host.move(one.was.index, int(m.insideNS.Fd()), one.device.Inside, one.index); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (that takes CAP_NET_ADMIN over both namespaces)", err)
		}
		return fmt.Errorf("move it into the container's network namespace as %q: %w", one.device.Inside, err)
	}
	l, err := m.inside.link(one.index) // with the name that a pattern has become
	if err != nil {
		return fmt.Errorf("find it in the container's network namespace: %w", err)
	}
	for i := range one.had {
		if a := &one.had[i]; a.lasting() {
			if err := m.inside.add(a, &l, false); err != nil {
				return err
			}
		}
	}
	return m.inside.setUp(&l)
}

// Back brings the devices back to where they were, under their names, with
// their addresses, and up if they were. (Routes over them are gone.)
func (m *Moved) Back() error {
	var errs []error
	for i := len(m.list) - 1; i >= 0; i-- {
		if err := m.back(&m.list[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path(m.list[i].device.Name), err))
		}
	}
	m.list = nil
	return errors.Join(errs...)
}

func (m *Moved) back(one *moved) error {
	if l, err := m.host.link(one.was.index); err == nil && l.name == one.was.name {
		return nil // it never left
	}
	if err := m.inside.move(one.index, int(m.hostNS.Fd()), one.was.name, one.was.index); err != nil {
		return fmt.Errorf("move it back from the container's network namespace: %w", err)
	}
	var errs []error
	for i := range one.had {
		if a := &one.had[i]; !a.kernels() {
			errs = append(errs, m.host.add(a, &one.was, true))
		}
	}
	if one.was.up {
		errs = append(errs, m.host.setUp(&one.was))
	}
	return errors.Join(errs...)
}

// Missing returns those of the devices that are not in gourd's own network
// namespace.
func Missing(devices []Device) ([]Device, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	host, err := c.links()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(devices), func(d Device) bool {
		return slices.ContainsFunc(host, func(l link) bool { return l.name == d.Name })
	}), nil
}
