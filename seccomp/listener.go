package seccomp

import (
	"encoding/json"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/linux"
)

// DialListener connects to the agent at a listenerPath, a unix stream socket
// (config-linux.md, "Seccomp"). It is done before the container's process
// runs, so that an agent which is missing, or has stopped accepting, is an error
// of create. The path may be longer than a socket address can be.
func DialListener(path string) (*os.File, error) {
	sock, err := linux.DialUnix(path)
	if err != nil {
		return nil, fmt.Errorf("failed to connect with seccomp agent %s: %w", path, err)
	}
	return sock, nil
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
