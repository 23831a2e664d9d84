// inside.go: what is done in a container's root filesystem, all of it through
// descriptors that are found with it as "/".

package prepare

import (
	"context"
	"fmt"
	"os"
	"path"
	"sort"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// makeDirs makes a directory and those above it, owned by uid and gid where
// they are new.
func makeDirs(root *os.File, name string, uid, gid int) error {
	fd, err := linux.OpenInRoot(int(root.Fd()), name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		unix.Close(fd)
		return nil
	}
	if err != unix.ENOENT {
		return &os.PathError{Op: "open in the root filesystem", Path: name, Err: err}
	}
	at := ""
	for _, part := range strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/") {
		dir, err := linux.OpenInRoot(int(root.Fd()), at, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return &os.PathError{Op: "open in the root filesystem", Path: at, Err: err}
		}
		err = unix.Mkdirat(dir, part, 0o755)
		if err == nil {
			err = unix.Fchownat(dir, part, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
		} else if err == unix.EEXIST {
			err = nil
		}
		unix.Close(dir)
		at += "/" + part
		if err != nil {
			return &os.PathError{Op: "make directory in the root filesystem", Path: at, Err: err}
		}
	}
	return nil
}

// volumes makes a directory for each volume of the image, with a copy of what
// the image has there, and returns them by their place.
func (p *Preparer) volumes(ctx context.Context, c *store.Container, root *os.File, img *ocispec.Image) (map[string]string, error) {
	var at []string
	for v := range img.Config.Volumes {
		at = append(at, path.Clean("/"+v))
	}
	sort.Strings(at)
	out := map[string]string{}
	uid, gid := mappedRoot(c)
	for i, v := range at {
		if v == "/" {
			return nil, fmt.Errorf("volume %q of the image: the root cannot be one", v)
		}
		if err := makeDirs(root, v, uid, gid); err != nil {
			return nil, fmt.Errorf("volume %q of the image: %w", v, err)
		}
		dir := fmt.Sprintf("%s/volumes/%d", p.Store.ContainerDir(c.ID), i)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		if err := p.copyUp(ctx, root, v, dir); err != nil {
			return nil, fmt.Errorf("volume %q of the image: %w", v, err)
		}
		out[v] = dir
	}
	return out, nil
}

func (p *Preparer) copyUp(ctx context.Context, root *os.File, name, dir string) error {
	fd, err := linux.OpenInRoot(int(root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	from := os.NewFile(uintptr(fd), name)
	defer from.Close()
	to, err := openPath(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	return layer.Copy(ctx, from, to, layer.PackOptions{Root: true})
}
