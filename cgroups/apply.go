package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// apply writes every Write beneath the cgroup's directory, in order.
func (c *Cgroup) apply(ws []Write) error {
	for i := range ws {
		if err := c.write(&ws[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cgroup) write(w *Write) error {
	err := writeAt(c.fd, w.File, w.Value)
	if err == nil {
		return nil
	}
	// cgroupfs lets no file be created, so one that does not exist is ENOENT.
	if errors.Is(err, unix.ENOENT) {
		if w.Else != nil {
			return c.write(w.Else)
		}
		if w.Optional {
			return nil
		}
	}
	return c.writeError(w, err)
}

// writeError returns the error of a Write: JSON path, file, value and cgroup,
// and what to do where a controller is missing.
func (c *Cgroup) writeError(w *Write, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // the file is named below
	}
	e := &WriteError{Write: *w, Cgroup: c.shown(), Err: err}
	switch {
	case !errors.Is(err, unix.ENOENT):
		e.Hint = hint(w, err)
	case w.Controller == "":
		e.Hint = "this kernel has no such file"
	default:
		if e.Hint = c.why(w.Controller); e.Hint == "" {
			e.Hint = fmt.Sprintf("the %s controller is enabled here, but this kernel has no such file in it", w.Controller)
		}
	}
	return e
}

// hint says what the kernel means by an errno that means something else than
// usual on this file.
func hint(w *Write, err error) string {
	switch {
	case strings.HasPrefix(w.File, "io.") && errors.Is(err, unix.ENODEV):
		return "there is no such block device, or it is a partition: limits are for whole disks"
	case strings.HasPrefix(w.File, "io.") && errors.Is(err, unix.EOPNOTSUPP):
		return "the device's I/O scheduler has no weights"
	case w.File == "rdma.max" && errors.Is(err, unix.EINVAL):
		return "there may be no such RDMA device"
	case w.File == "cpu.weight" && errors.Is(err, unix.EINVAL):
		return "an idle cgroup has no weight: set cpu.idle to 0 first"
	}
	return ""
}

// WriteError is the error of a limit that could not be written.
type WriteError struct {
	Write  Write
	Cgroup string // below the cgroup2 root
	Hint   string // what may be done about it, "" if that is not known
	Err    error
}

// Error returns, for example, `linux.resources.pids.limit: write pids.max "100"
// in /gourd/web: the pids controller …`. Where the hint says what is not there,
// ENOENT says no more, and Podman would take its text for a missing command.
func (e *WriteError) Error() string {
	if e.Err == unix.ENOENT && e.Hint != "" {
		return fmt.Sprintf("%s: write %s %q in %s: %s", e.Write.From, e.Write.File, e.Write.Value, e.Cgroup, e.Hint)
	}
	s := fmt.Sprintf("%s: write %s %q in %s: %v", e.Write.From, e.Write.File, e.Write.Value, e.Cgroup, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the errno.
func (e *WriteError) Unwrap() error { return e.Err }
