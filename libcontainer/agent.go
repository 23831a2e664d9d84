package libcontainer

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/seccomp"
)

// agentMessage returns what the seccomp agent gets with the listener of a
// process's filter; nil if the filter has none. The state is the container's
// when the process is about to be executed; an init is so in `start`, and its
// container created.
func agentMessage(filter *seccomp.Program, state *specs.State, pid int) ([]byte, error) {
	if filter == nil || !filter.Notify {
		return nil, nil
	}
	return seccomp.ListenerState(state, pid, filter.ListenerMetadata)
}
