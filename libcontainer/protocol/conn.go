package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxPayload bounds one frame. A config.json of a megabyte makes a plan of
// about that size; nothing legitimate comes near this.
const maxPayload = 64 << 20

// maxFiles is how many fds one frame may carry (SCM_MAX_FD is 253).
const maxFiles = 64

const headerSize = 12 // kind, payload length, number of fds: three uint32

// Conn is one end of the conversation: a connected unix stream socket. It is
// used with plain blocking calls, without Go's poller, because init must not
// start threads.
type Conn struct{ fd int }

// Pair returns the two ends of a new conversation, both close-on-exec. The
// second one is for the child, which gets it by its fd number.
func Pair() (*Conn, *os.File, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the socket pair between runtime and init: %w", err)
	}
	return &Conn{p[0]}, os.NewFile(uintptr(p[1]), "init-conn"), nil
}

// Open returns the conversation on an inherited fd, which it makes
// close-on-exec.
func Open(fd int) (*Conn, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("open the connection to the runtime, fd %d: %w", fd, err)
	}
	return &Conn{fd}, nil
}

// FD returns the number of the socket.
func (c *Conn) FD() int { return c.fd }

// Close closes the socket; the other end reads an end of file.
func (c *Conn) Close() error {
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}

// Send writes one message with its fds, which stay open here. The message is
// encoded by Marshal; nil stands for an empty one.
func (c *Conn) Send(k Kind, msg any, fds ...int) error {
	var payload []byte
	if msg != nil {
		var err error
		if payload, err = Marshal(msg); err != nil {
			return fmt.Errorf("send %s: %w", k, err)
		}
	}
	h := header(k, len(payload), len(fds))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	// The fds travel with the first byte: whatever part of the frame this
	// call takes, they are in it.
	n, err := retry(func() (int, error) {
		return unix.SendmsgBuffers(c.fd, [][]byte{h[:], payload}, oob, nil, unix.MSG_NOSIGNAL)
	})
	if err != nil {
		return fmt.Errorf("send %s: %w", k, err)
	}
	for rest := append(h[:], payload...)[n:]; len(rest) > 0; {
		n, err := retry(func() (int, error) { return unix.SendmsgN(c.fd, rest, nil, nil, unix.MSG_NOSIGNAL) })
		if err != nil {
			return fmt.Errorf("send %s: %w", k, err)
		}
		rest = rest[n:]
	}
	return nil
}

func header(k Kind, payload, fds int) (h [headerSize]byte) {
	binary.NativeEndian.PutUint32(h[0:], uint32(k))
	binary.NativeEndian.PutUint32(h[4:], uint32(payload))
	binary.NativeEndian.PutUint32(h[8:], uint32(fds))
	return h
}

// Bare returns the bytes of a message without contents, for who sends it
// without this package.
func Bare(k Kind) []byte {
	h := header(k, 0, 0)
	return h[:]
}

// Frame is one received message; Files are its fds, close-on-exec, and belong
// to the receiver.
type Frame struct {
	Kind    Kind
	Payload []byte
	Files   []int
}

// Decode decodes the payload into the message that v points to.
func (f *Frame) Decode(v any) error {
	if err := Unmarshal(f.Payload, v); err != nil {
		return fmt.Errorf("receive %s: %w", f.Kind, err)
	}
	return nil
}

// Receive reads one frame. It returns io.EOF when the other end is gone.
func (c *Conn) Receive() (*Frame, error) {
	var h [headerSize]byte
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn := 0, 0
	_, err := retry(func() (_ int, err error) {
		n, oobn, _, _, err = unix.Recvmsg(c.fd, h[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
		return n, err
	})
	if err != nil {
		if errors.Is(err, unix.ECONNRESET) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("receive: %w", err)
	}
	if n == 0 {
		return nil, io.EOF
	}
	f := &Frame{Kind: Kind(binary.NativeEndian.Uint32(h[0:]))}
	if f.Files, err = rights(oob[:oobn]); err != nil {
		return nil, err
	}
	size, nfds := binary.NativeEndian.Uint32(h[4:]), binary.NativeEndian.Uint32(h[8:])
	if n != headerSize || size > maxPayload || int(nfds) != len(f.Files) {
		f.Close()
		return nil, fmt.Errorf("receive: malformed frame (%d of %d header bytes, payload %d, fds %d of %d)", n, headerSize, size, len(f.Files), nfds)
	}
	f.Payload = make([]byte, size)
	for rest := f.Payload; len(rest) > 0; {
		n, err := retry(func() (int, error) { return unix.Read(c.fd, rest) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("receive %s: %w", f.Kind, err)
		}
		rest = rest[n:]
	}
	return f, nil
}

// Expect receives the next frame and refuses any other kind than k.
func (c *Conn) Expect(k Kind) (*Frame, error) {
	f, err := c.Receive()
	if err != nil {
		return nil, err
	}
	if f.Kind != k {
		f.Close()
		return nil, fmt.Errorf("receive: %s where %s was due", f.Kind, k)
	}
	return f, nil
}

// Close closes the fds that are still among Files.
func (f *Frame) Close() {
	for _, fd := range f.Files {
		unix.Close(fd)
	}
	f.Files = nil
}

func rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive fds: %w", err)
	}
	var fds []int
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // not SCM_RIGHTS: no fd in it
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
