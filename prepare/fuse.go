package prepare

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/prepare/store"
)

// mountFuse stacks a container's layers by fuse-overlayfs(1), which goes on in
// the background until it is unmounted.
func (p *Preparer) mountFuse(c *store.Container) error {
	if len(c.UIDMappings) > 0 && !c.Chowned {
		return errors.New("fuse-overlayfs cannot map the ids of layers: let them be copied")
	}
	if c.MountLabel != "" {
		return errors.New("fuse-overlayfs cannot give files a label")
	}
	program, err := exec.LookPath("fuse-overlayfs")
	if err != nil {
		return fmt.Errorf("stack the layers without the kernel: %w", err)
	}
	var lowers []string
	switch {
	case c.Chowned:
		lowers = []string{p.shifted(c)}
	case c.Rootfs != "":
		lowers = []string{c.Rootfs}
	default:
		for i := len(c.Layers) - 1; i >= 0; i-- {
			if slices.Contains(c.Layers[i+1:], c.Layers[i]) {
				continue // see openLayers
			}
			l, err := p.Store.Layer(c.Layers[i])
			if err != nil {
				return fmt.Errorf("layer %s: %w", c.Layers[i], err)
			}
			if l.Format != store.FormatDirectory {
				return fmt.Errorf("layer %s: fuse-overlayfs cannot stack the format %s: import the image with the layer format %s", l.Key, l.Format, store.FormatDirectory)
			}
			lowers = append(lowers, p.Store.LayerDir(l.Key)+"/"+diffName)
		}
	}
	for i := range lowers {
		lowers[i] = fuseEscape(lowers[i])
	}
	options := "lowerdir=" + strings.Join(lowers, ":")
	if c.Writable {
		dir := fuseEscape(p.Store.ContainerDir(c.ID))
		options += ",upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	}
	out, err := exec.Command(program, "-o", options, p.rootfs(c)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fuse-overlayfs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// fuseEscape escapes what separates options and layers.
func fuseEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(s)
}
