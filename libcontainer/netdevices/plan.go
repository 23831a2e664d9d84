// Package netdevices moves network devices of the host into a container's
// network namespace (config-linux.md, "Network Devices").
//
// Compile turns linux.netDevices into a list, plain data, and finds what is
// wrong with it. Moved applies the list with a netlink connection to each of the
// two namespaces, and can bring everything back as it was, for a create that
// fails. What becomes of the devices with the end of the namespace is the
// kernel's: virtual ones end with it, physical ones come back under the name
// that they have then.
//
// Of github.com/vishvananda/netlink only the package nl is used, the sockets and
// the framing: what goes in is what came out, so that an address keeps all of
// its attributes, the unknown ones too, and nothing is set up before main.
package netdevices

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// Env is what Compile has to know beyond linux.netDevices.
type Env struct {
	// Network is whether linux.namespaces has a network namespace, Host
	// whether that is the one that gourd is in.
	Network, Host bool
	// Rootless is whether gourd lacks the rights over its own network namespace.
	Rootless bool
}

// Device is a network device to move.
type Device struct {
	Name string // in the host's namespace
	// Inside is its name in the container's, or a pattern that the kernel
	// makes one of: eth%d becomes eth0 if there is none yet.
	Inside string
}

// path is the JSON path of a device.
func path(name string) string {
	if nameProblem(name) != "" {
		return fmt.Sprintf("linux.netDevices[%q]", name)
	}
	return "linux.netDevices." + name
}

// pattern is whether the kernel is to find the number for the name inside.
func (d *Device) pattern() bool { return strings.Contains(d.Inside, "%") }

// Compile returns the devices in the order in which they are moved: those with
// a name of their own first, so that no pattern takes it, and both sorted.
func Compile(list map[string]specs.LinuxNetDevice, e Env, d *defect.List) []Device {
	if len(list) == 0 {
		return nil
	}
	switch {
	case e.Rootless:
		d.Add("linux.netDevices", "to move a device out of the host's network namespace takes CAP_NET_ADMIN there, which gourd does not have when it is rootless")
	case !e.Network:
		d.Add("linux.netDevices", "linux.namespaces has no network namespace to move them to")
	case e.Host:
		d.Add("linux.netDevices", "the network namespace that linux.namespaces joins is the host's, where they are already")
	}
	devices := make([]Device, 0, len(list))
	for name, dev := range list {
		inside := dev.Name
		if inside == "" {
			inside = name
		}
		devices = append(devices, Device{name, inside})
	}
	slices.SortFunc(devices, func(a, b Device) int {
		if a.pattern() != b.pattern() {
			if b.pattern() {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i := range devices {
		check(devices[:i], &devices[i], d)
	}
	return devices
}

// check checks a device, and its name inside against those of the ones before.
func check(before []Device, dev *Device, d *defect.List) {
	at := path(dev.Name)
	switch why := nameProblem(dev.Name); {
	case why != "":
		d.Add(at, "%q cannot be the name of a network device: %s", dev.Name, why)
	case strings.Contains(dev.Name, "%"):
		d.Add(at, "%q cannot be the name of a network device: the kernel gives none a %%", dev.Name)
	case dev.Name == "lo":
		d.Add(at, "the loopback device cannot be moved: each network namespace has its own")
	}
	if dev.Inside != dev.Name {
		at += ".name"
		switch why := nameProblem(dev.Inside); {
		case why != "":
			d.Add(at, "%q cannot be the name of a network device: %s", dev.Inside, why)
		case dev.pattern() && !oneNumber(dev.Inside):
			d.Add(at, "%q is not a pattern that the kernel takes: it has one %%d, as eth%%d has, and no other %%", dev.Inside)
		case dev.Inside == "lo":
			d.Add(at, "each network namespace has its own loopback device, lo")
		}
	}
	for i := range before {
		if before[i].Inside == dev.Inside && !dev.pattern() {
			d.Add(at, "%s is to have the name %q too", path(before[i].Name), dev.Inside)
		}
	}
}

// nameProblem says why the kernel takes no device of this name, "" if it does:
// its rules are dev_valid_name's (net/core/dev.c), byte by byte.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Sprintf("it has %d bytes, and the kernel takes %d", len(name), unix.IFNAMSIZ-1)
	case name == "." || name == "..":
		return "it is a name of directories"
	}
	for i := range len(name) {
		switch c := name[i]; c {
		case 0:
			return "it has a NUL byte in it"
		case '/', ':':
			return fmt.Sprintf("it has a %q in it", c)
		case ' ', '\t', '\n', '\v', '\f', '\r', 0xa0: // the kernel's isspace, which thinks in Latin 1
			return "it has whitespace in it"
		}
	}
	return ""
}

// oneNumber is whether a pattern has a single %d and no other %, which is all
// that the kernel takes (__dev_alloc_name).
func oneNumber(pattern string) bool {
	_, rest, ok := strings.Cut(pattern, "%d")
	return ok && strings.Count(pattern, "%") == 1 && !strings.Contains(rest, "%")
}
