package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// DialListener connects to the agent at a listenerPath, a unix stream socket
// (config-linux.md, "Seccomp"). It is done before the container's process
// runs, so that a missing agent is an error of create. The path may be longer
// than a socket address can be.
func DialListener(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("failed to connect with seccomp agent %s: socket: %w", path, err)
	}
	if err := connect(fd, path); err != nil {
		unix.Close(fd)
		if err == unix.ENOENT {
			err = linux.Worded(unix.ENOENT, "there is no such socket")
		}
		return nil, fmt.Errorf("failed to connect with seccomp agent %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// maxSocketPath is the longest path of a socket address, less its final zero
// (unix(7)).
const maxSocketPath = 107

// connect connects fd to the socket at path.
func connect(fd int, path string) error {
	if len(path) > maxSocketPath {
		// Through the directory: that path is short.
		dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		path = "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)
	}
	for {
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != unix.EINTR {
			return err
		}
	}
}

// ListenerState returns the message for the agent: the container process state
// of the spec (config-linux.md, "The Container Process State") with one
// descriptor, as JSON. pid is the process's, as the runtime sees it. It is
// made beforehand: once a filter is loaded, nothing should be left to do but
// to send, which package notify does.
func ListenerState(state *specs.State, pid int, metadata string) ([]byte, error) {
	b, err := json.Marshal(specs.ContainerProcessState{
		Version:  state.Version,
		Fds:      []string{specs.SeccompFdName},
		Pid:      pid,
		Metadata: metadata,
		State:    *state,
	})
	if err != nil {
		return nil, fmt.Errorf("container process state: %w", err)
	}
	return b, nil
}
