package prepare

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// Size is how large a container is.
type Size struct {
	// RootFS is the sum of the layers of its image; 0 for a root filesystem
	// of its own.
	RootFS layer.Usage `json:"rootfs"`
	// Writable is its writable layer, or the root filesystem of its own.
	Writable layer.Usage `json:"writable"`
}

// Size measures a container.
func (p *Preparer) Size(ref string) (*Size, error) {
	c, err := p.Store.FindContainer(ref)
	if err != nil {
		return nil, err
	}
	var s Size
	for _, k := range c.Layers {
		l, err := p.Store.Layer(k)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", k, err)
		}
		if l.Format == store.FormatEROFS {
			u, err := measureFiles(p.Store.LayerDir(l.Key)+"/"+indexName, p.Store.LayerDir(l.Key)+"/"+tarName)
			if err != nil {
				return nil, err
			}
			s.RootFS.Apparent += l.Size
			s.RootFS.Disk += u
			continue
		}
		d, err := p.openLayer(l)
		if err != nil {
			return nil, err
		}
		u, err := layer.Measure(d.File)
		d.Close()
		if err != nil {
			return nil, err
		}
		s.RootFS.Apparent += l.Size
		s.RootFS.Disk += u.Disk
	}
	dir := p.Store.ContainerDir(c.ID) + "/upper"
	if !c.Writable {
		if c.Rootfs == "" {
			return &s, nil
		}
		dir = c.Rootfs
	}
	d, err := openPath(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	s.Writable, err = layer.Measure(d)
	return &s, err
}

// measureFiles is what files take on disk.
func measureFiles(names ...string) (int64, error) {
	var sum int64
	for _, n := range names {
		var st unix.Stat_t
		if err := unix.Stat(n, &st); err != nil {
			return 0, &os.PathError{Op: "stat", Path: n, Err: err}
		}
		sum += st.Blocks * 512
	}
	return sum, nil
}
