package initproc

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/protocol"
)

// asker is rootfs.Runtime by way of the conversation. What the runtime cannot
// do is its own error, and ends the conversation.
type asker struct{ conn *protocol.Conn }

// Open asks for the source of a mount.
func (a asker) Open(mount int) (int, error) {
	if err := a.conn.Send(protocol.KindOpen, &protocol.MountIndex{Mount: mount}); err != nil {
		return -1, err
	}
	frame, err := a.conn.Expect(protocol.KindOpened)
	if err != nil {
		return -1, fmt.Errorf("wait for the source of a mount: %w", err)
	}
	if len(frame.Files) != 1 {
		for _, fd := range frame.Files {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("receive %s: it came with %d fds instead of one", frame.Kind, len(frame.Files))
	}
	return frame.Files[0], nil
}

// Map asks for a mount's ids to be mapped.
func (a asker) Map(mount, tree int) error {
	if err := a.conn.Send(protocol.KindMap, &protocol.MountIndex{Mount: mount}, tree); err != nil {
		return err
	}
	if _, err := a.conn.Expect(protocol.KindMapped); err != nil {
		return fmt.Errorf("wait for the ids of a mount: %w", err)
	}
	return nil
}
