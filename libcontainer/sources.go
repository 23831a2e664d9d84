package libcontainer

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/rootfs"
)

// mounter does for init, while it mounts, what takes the runtime's rights over
// the host: it opens sources, and it maps the ids of mounts. It does so only
// for mounts of the plan, and only when init asks: a container without a user
// namespace and without mapped mounts never does.
type mounter struct {
	plan *rootfs.Plan
	pid  int     // init's
	ids  []idmap // the user namespaces for id mappings that were needed so far
}

// answer answers one message of init's, an Open or a Map.
func (m *mounter) answer(conn *protocol.Conn, frame *protocol.Frame) error {
	defer frame.Close()
	var which protocol.MountIndex
	if err := frame.Decode(&which); err != nil {
		return err
	}
	if frame.Kind == protocol.KindOpen {
		fd, err := m.open(which.Mount)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return conn.Send(protocol.KindOpened, nil, fd)
	}
	if len(frame.Files) != 1 {
		return fmt.Errorf("receive %s: it came with %d fds instead of one", frame.Kind, len(frame.Files))
	}
	if err := m.mapIDs(which.Mount, frame.Files[0]); err != nil {
		return err
	}
	return conn.Send(protocol.KindMapped, nil)
}

// open opens the source of a mount in init's mount namespace.
func (m *mounter) open(mount int) (int, error) {
	root, err := unix.Open("/proc/"+strconv.Itoa(m.pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open init's root directory: %w", err)
	}
	defer unix.Close(root)
	return m.plan.OpenSource(root, mount)
}

// close closes the user namespaces.
func (m *mounter) close() {
	for _, n := range m.ids {
		n.file.Close()
	}
}
