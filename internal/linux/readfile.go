package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadFile returns the content of a file of the kernel's (/proc, /sys), by open,
// read and close alone. os.ReadFile asks more, and starts the poller of Go's
// runtime for it, which takes a process that soon ends longer than the reading.
func ReadFile(path string) ([]byte, error) {
	fd, err := openRetry(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 512)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := readRetry(fd, data[len(data):cap(data)])
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, nil
		}
		data = data[:len(data)+n]
	}
}
