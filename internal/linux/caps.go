package linux

import "golang.org/x/sys/unix"

// Caps are the three capability sets of capset(2), bit n for capability n.
type Caps struct{ Effective, Permitted, Inheritable uint64 }

// ThreadCaps returns the capability sets of the calling thread (capget(2)).
// The error is an errno.
func ThreadCaps() (Caps, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return Caps{}, err
	}
	return Caps{
		Effective:   uint64(data[0].Effective) | uint64(data[1].Effective)<<32,
		Permitted:   uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32,
		Inheritable: uint64(data[0].Inheritable) | uint64(data[1].Inheritable)<<32,
	}, nil
}

// SetThreadCaps sets the capability sets of the calling thread (capset(2)).
// The error is an errno.
func SetThreadCaps(c Caps) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(c.Effective), Permitted: uint32(c.Permitted), Inheritable: uint32(c.Inheritable)},
		{Effective: uint32(c.Effective >> 32), Permitted: uint32(c.Permitted >> 32), Inheritable: uint32(c.Inheritable >> 32)},
	}
	return unix.Capset(&hdr, &data[0])
}
