// ids.go: who the owners of a container's files are, inside and outside.

package prepare

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// mappedRoot is who root of the container is on the host.
func mappedRoot(c *store.Container) (uid, gid int) {
	for _, m := range c.UIDMappings {
		if m.ContainerID == 0 {
			uid = int(m.HostID)
		}
	}
	for _, m := range c.GIDMappings {
		if m.ContainerID == 0 {
			gid = int(m.HostID)
		}
	}
	return uid, gid
}

// hostIDs maps the container's ids to the host's; nil where they are the same.
func hostIDs(c *store.Container) layer.IDs {
	if len(c.UIDMappings) == 0 {
		return nil
	}
	return func(uid, gid uint32) (uint32, uint32) {
		u, g := uint32(overflowID), uint32(overflowID)
		for _, m := range c.UIDMappings {
			if uid >= m.ContainerID && uid-m.ContainerID < m.Size {
				u = m.HostID + uid - m.ContainerID
			}
		}
		for _, m := range c.GIDMappings {
			if gid >= m.ContainerID && gid-m.ContainerID < m.Size {
				g = m.HostID + gid - m.ContainerID
			}
		}
		return u, g
	}
}

// containerIDs maps host ids to the container's; nil where they are the same.
// An id that is not mapped is nobody's.
func containerIDs(c *store.Container) layer.IDs {
	if len(c.UIDMappings) == 0 {
		return nil
	}
	return func(uid, gid uint32) (uint32, uint32) {
		return unmap(c.UIDMappings, uid), unmap(c.GIDMappings, gid)
	}
}

// overflowID is who the kernel takes for the owner of what is not mapped.
const overflowID = 65534

func unmap(ms []specs.LinuxIDMapping, host uint32) uint32 {
	for _, m := range ms {
		if host >= m.HostID && host-m.HostID < m.Size {
			return m.ContainerID + host - m.HostID
		}
	}
	return overflowID
}
