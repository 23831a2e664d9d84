package rootfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// External are the places of a container where something is mounted that is
// not its own: who saves the container must be told of them, and who brings it
// back what to put there.
type External struct {
	Binds   []string `json:",omitempty"` // destinations of bind mounts
	Masked  []string `json:",omitempty"` // where they are files, the container's /dev/null covers them
	Devices []string `json:",omitempty"` // the host's nodes, bound
}

// External returns the places of p.
func (p *Plan) External() External {
	var e External
	for i := range p.Mounts {
		if m := &p.Mounts[i]; m.Kind == Bind {
			e.Binds = append(e.Binds, m.Destination)
		}
	}
	e.Masked = p.MaskedPaths
	if p.BindDevices && p.SetupDev {
		for i := range p.Devices {
			e.Devices = append(e.Devices, p.Devices[i].Path)
		}
	}
	return e
}

// MakeMountpoints makes on the root filesystem at dir what Mount would have
// made there, so that somebody else can make the mounts. It returns for each
// mount of the plan where below the root it is, which symlinks may have made
// another place than its destination ("" for one that has no place of its own
// there), and what it has made, as Made does.
//
// A bind mount is made, for the next mountpoint may be inside it: the caller is
// in a mount namespace of its own, where dir is a mount that it throws away. What is
// below a new filesystem is left out: that comes with its contents.
func (p *Plan) MakeMountpoints(dir string) (places []string, made []Made, err error) {
	// Modes are given as they shall be.
	defer unix.Umask(unix.Umask(0))
	fd, err := linux.Openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", dir, err)
	}
	r := &Root{plan: p, fd: fd, proc: -1}
	defer r.Close()
	places = make([]string, len(p.Mounts))
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Kind == Remount || p.inFilesystem(i) {
			continue
		}
		if places[i], err = r.makeMountpoint(m, dir); err != nil {
			return nil, r.made, fmt.Errorf("%s: %w", m, err)
		}
	}
	return places, r.made, nil
}

// inFilesystem is whether the destination of Mounts[n] is below a new
// filesystem that comes before it.
func (p *Plan) inFilesystem(n int) bool {
	in := false
	for i := range n {
		m := &p.Mounts[i]
		if !strings.HasPrefix(p.Mounts[n].Destination, strings.TrimSuffix(m.Destination, "/")+"/") {
			continue
		}
		switch m.Kind { // the last one decides
		case Filesystem:
			in = true
		case Bind:
			in = false
		}
	}
	return in
}

func (r *Root) makeMountpoint(m *Mount, dir string) (string, error) {
	tree := -1
	if m.Kind == Bind && m.Source != LaterCgroup {
		var err error
		if tree, err = linux.CloneTree(unix.AT_FDCWD, m.Source, m.Recursive); err != nil {
			return "", fmt.Errorf("open source %s: %w", m.Source, err)
		}
		defer unix.Close(tree)
	}
	target, err := r.pin(m)
	switch {
	case err == unix.ENOENT && tree >= 0:
		target, err = r.makeTarget(m, tree)
	case err == unix.ENOENT:
		target, err = r.makeDir(m.Destination, m.NoSymlinks)
	}
	if err != nil {
		return "", fmt.Errorf("destination: %w", err)
	}
	defer unix.Close(target)
	path, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(target))
	if err != nil {
		return "", fmt.Errorf("destination: %w", err)
	}
	place, ok := strings.CutPrefix(path, dir)
	if !ok {
		return "", fmt.Errorf("destination: %s is not below %s", path, dir)
	}
	if tree >= 0 {
		if err := linux.Attach(tree, target); err != nil {
			return "", fmt.Errorf("move_mount: %w", err)
		}
	}
	return place, nil
}
