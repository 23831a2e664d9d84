package linux

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxParam is the longest value, in bytes, that fsconfig(2) takes.
const MaxParam = 255

// Param is one parameter of a filesystem: key=value, or the key alone when
// Flag.
type Param struct {
	Key, Value string
	Flag       bool
}

// String returns the parameter as mount(8) writes it.
func (p Param) String() string {
	if p.Flag {
		return p.Key
	}
	return p.Key + "=" + p.Value
}

// NewFilesystem returns a detached mount of a new filesystem (fsopen(2),
// fsconfig(2), fsmount(2), Linux 5.2). The source is left out when empty; attr
// holds MOUNT_ATTR_ bits. The error names the step, holds what the kernel
// itself said of it, and unwraps to an errno.
func NewFilesystem(fstype, source string, params []Param, attr uint64) (int, error) {
	for {
		fd, err := newFilesystem(fstype, source, params, attr)
		// A context is of no use after a failed step: begin anew.
		if e, ok := err.(*fsError); ok && e.err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		return fd, nil
	}
}

func newFilesystem(fstype, source string, params []Param, attr uint64) (int, error) {
	ctx, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		if err == unix.ENODEV {
			return -1, fmt.Errorf("filesystem type %q is not known to this kernel: %w", fstype, err)
		}
		return -1, &fsError{step: "fsopen", object: fstype, err: NeedsKernel("5.2", err)}
	}
	defer unix.Close(ctx)
	if source != "" {
		if err := unix.FsconfigSetString(ctx, "source", source); err != nil {
			return -1, newFSError(ctx, "fsconfig", "source="+source, err)
		}
	}
	if err := configure(ctx, params); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, newFSError(ctx, "create filesystem", fstype, err)
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, int(attr))
	if err != nil {
		return -1, newFSError(ctx, "fsmount", fstype, err)
	}
	return fd, nil
}

// Reconfigure changes the parameters of the filesystem whose mount fd is the
// root of (fspick(2), Linux 5.2).
func Reconfigure(fd int, params []Param) error {
	ctx, err := unix.Fspick(fd, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return &fsError{step: "fspick", object: "mount", err: NeedsKernel("5.2", err)}
	}
	defer unix.Close(ctx)
	if err := configure(ctx, params); err != nil {
		return err
	}
	if err := unix.FsconfigReconfigure(ctx); err != nil {
		return newFSError(ctx, "reconfigure", "filesystem", err)
	}
	return nil
}

func configure(ctx int, params []Param) error {
	for _, p := range params {
		var err error
		if p.Flag {
			err = unix.FsconfigSetFlag(ctx, p.Key)
		} else {
			err = unix.FsconfigSetString(ctx, p.Key, p.Value)
		}
		if err != nil {
			return newFSError(ctx, "fsconfig", p.String(), err)
		}
	}
	return nil
}

// fsError is a failed step on a filesystem context.
type fsError struct {
	step, object string
	log          string
	err          error
}

func newFSError(ctx int, step, object string, err error) *fsError {
	return &fsError{step: step, object: object, log: contextLog(ctx), err: err}
}

func (e *fsError) Unwrap() error { return e.err }

func (e *fsError) Error() string {
	s := e.step + " " + e.object + ": " + e.err.Error()
	if e.log != "" {
		s += " (" + e.log + ")"
	}
	return s
}

// contextLog returns what the kernel logged on the context: each read gives
// one message, led by its level and a space.
func contextLog(ctx int) string {
	var msgs []string
	var buf [1024]byte
	for {
		n, err := unix.Read(ctx, buf[:])
		if err != nil || n < 3 {
			return strings.Join(msgs, "; ")
		}
		msgs = append(msgs, strings.TrimSpace(string(buf[2:n])))
	}
}

// ContextError is the error of a step on the filesystem context ctx, with what
// the kernel has logged there.
func ContextError(ctx int, step string, err error) error {
	if log := contextLog(ctx); log != "" {
		return fmt.Errorf("%s: %w (%s)", step, err, log)
	}
	return fmt.Errorf("%s: %w", step, err)
}
