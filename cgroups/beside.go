package cgroups

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Beside opens the cgroup that the process pid, the init of the container with
// this record, is in now, for another process to be born there. Init may have
// moved itself below the container's cgroup, which can then have no process of
// its own, or away from it, so that it is gone.
func Beside(rec Record, pid int) (*os.File, error) {
	p, err := ownCgroup("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil, err
	}
	if rec.Root == "" || strings.HasPrefix(p, "/..") {
		return nil, fmt.Errorf("process %d is in cgroup %s, which gourd does not see: %w", pid, p, fs.ErrNotExist)
	}
	root, err := openDir(rec.Root)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd := -1
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat2(root, path.Join(".", p), &how)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", p, err)
	}
	return os.NewFile(uintptr(fd), path.Join(rec.Root, p)), nil
}
