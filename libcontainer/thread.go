package libcontainer

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/libcontainer/initproc"
)

// onThread runs f on a thread that ends with it, so that f may change the
// thread's namespaces.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends
		done <- f()
	}()
	return <-done
}

// loopbackUp brings up lo in the network namespace of a process, as init does
// in a new container.
func loopbackUp(pid int) error {
	return onThread(func() error {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			return fmt.Errorf("bring up lo: %w", err)
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("bring up lo: join %s: %w", f.Name(), err)
		}
		return initproc.LoopbackUp()
	})
}

// makeRootReadonly makes the root mount of a process in another mount namespace
// read-only. The kernel lets only who is in the namespace do so.
func makeRootReadonly(pid int) error {
	return onThread(func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil {
			return fmt.Errorf("root.readonly: %w", err)
		}
		defer ns.Close()
		root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("root.readonly: %w", err)
		}
		defer root.Close()
		if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns wants it
			return fmt.Errorf("root.readonly: unshare: %w", err)
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("root.readonly: join %s: %w", ns.Name(), err)
		}
		if err := linux.SetMountAttr(int(root.Fd()), false, unix.MOUNT_ATTR_RDONLY, 0, 0); err != nil {
			return fmt.Errorf("root.readonly: %w", err)
		}
		return nil
	})
}

// sameNamespace is whether a process is in gourd's own namespace of this type.
func sameNamespace(kind string, pid int) (bool, error) {
	var own, theirs unix.Stat_t
	err := unix.Stat("/proc/self/ns/"+kind, &own)
	if err == nil {
		err = unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &theirs)
	}
	if err != nil {
		return false, fmt.Errorf("look at the %s namespace of pid %d: %w", kind, pid, err)
	}
	return own.Ino == theirs.Ino && own.Dev == theirs.Dev, nil
}
