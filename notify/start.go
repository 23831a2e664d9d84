package notify

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/internal/trace"
)

// Release is a start under way. Wait ends it.
type Release struct{ conn *os.File }

// Start knocks at the gate of the container whose state directory this is,
// which releases its init. The error is ErrNotWaiting if nobody listens.
func Start(stateDir string) (*Release, error) {
	defer trace.Begin("connect to the gate").End()
	conn, err := linux.ConnectUnix(stateDir, socketName)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w: %w", ErrNotWaiting, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start gate: %w", err)
	}
	return &Release{conn}, nil
}

// Wait waits until init has executed the user's program or has ended. It
// returns nil if the program was executed, even if that has ended since; what
// failed in init as an *Error; ErrDied; or ErrNotWaiting if init has let
// somebody else in.
func (r *Release) Wait() error {
	defer trace.Begin("wait for the execve").End()
	defer r.conn.Close()
	page, err := r.receive()
	if err != nil {
		return err
	}
	defer page.Close()
	// Nothing is ever sent after the page: this returns at the end of the
	// connection. A reset is one too.
	var b [1]byte
	for {
		_, err := unix.Read(int(r.conn.Fd()), b[:])
		if err == nil || err == unix.ECONNRESET {
			break
		}
		if err != unix.EINTR {
			return fmt.Errorf("start gate: wait for init: %w", err)
		}
	}
	return Outcome(page)
}

// receive gets the page from init.
func (r *Release) receive() (*os.File, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, flags, _, err := unix.Recvmsg(int(r.conn.Fd()), b[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ECONNRESET || err == nil && n == 0 {
			return nil, ErrNotWaiting
		}
		if err != nil {
			return nil, fmt.Errorf("start gate: receive from init: %w", err)
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return nil, errors.New("start gate: receive from init: the page's fd was cut off (too many open files?)")
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			return nil, errors.New("start gate: init sent no page")
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 {
			return nil, errors.New("start gate: init sent no page")
		}
		return os.NewFile(uintptr(fds[0]), "start gate's page"), nil
	}
}
