package linux

import "golang.org/x/sys/unix"

// Worded returns an error that says text, and of which errors.Is finds the
// errno. It is for an errno whose own text an engine would take for something
// else: Podman reads "no such file or directory" as a missing command, Docker
// "not a directory" as a mount of a file on a directory.
func Worded(errno unix.Errno, text string) error { return &worded{text, errno} }

type worded struct {
	text  string
	errno unix.Errno
}

func (w *worded) Error() string { return w.text }

func (w *worded) Unwrap() error { return w.errno }
