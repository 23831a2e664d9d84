package libcontainer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/nsenter"
)

// end kills a child and reaps it, unless died has.
func end(child *nsenter.Child) error {
	err := unix.PidfdSendSignal(int(child.PIDFD.Fd()), unix.SIGKILL, nil, 0)
	if err != nil && err != unix.ESRCH {
		return err
	}
	if _, err = reap(child); err == unix.ECHILD {
		err = nil
	}
	return errors.Join(err, child.PIDFD.Close())
}

// reap waits for the end of a child. It is a child of this process, if need
// be by CLONE_PARENT, and may have no exit signal: hence __WALL.
func reap(child *nsenter.Child) (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(child.PID, &ws, unix.WALL, nil)
		if err != unix.EINTR {
			return ws, err
		}
	}
}

// died is the error of an init that ended without a word. It reaps it.
func died(child *nsenter.Child) error {
	ws, err := reap(child)
	switch {
	case err != nil:
		return fmt.Errorf("container init died during its set-up; wait for it: %w", err)
	case ws.Signaled():
		return fmt.Errorf("container init died during its set-up, killed by %s", unix.SignalName(ws.Signal()))
	}
	return fmt.Errorf("container init died during its set-up with exit code %d", ws.ExitStatus())
}

// exitCode is the exit code that a shell would give for a wait status: the
// program's own, or 128 and the signal.
func exitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
