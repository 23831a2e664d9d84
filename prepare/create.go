package prepare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/prepare/config"
	"github.com/gourd-oci/gourd/prepare/image"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/store"
)

// CreateOptions are how a container is made.
type CreateOptions struct {
	ImportOptions
	// Names are the container's, the first is its name.
	Names []string
	// Config is what its config.json is to say beyond the image.
	Config config.Request
	// Seccomp is "default", "unconfined" or a file with a profile; "" is default.
	Seccomp string
	// Labels are kept in the metadata.
	Labels map[string]string
	// Ephemeral empties the writable layer at every mount and unmount.
	Ephemeral bool
	// ShmSize is the size of /dev/shm in bytes; 0 is DefaultShmSize.
	ShmSize int64
	// Hosts are lines for /etc/hosts, DNS the name servers.
	Hosts, DNS []string
	// IPFrom is the subnet that the container gets an address of. Zero: none.
	IPFrom netip.Prefix
	// HooksDirs are directories of hooks that must be there; none: those of
	// hooksd.DefaultDirs that are. An empty name is no directory.
	HooksDirs []string
	// Patch is a JSON merge patch for the config.json.
	Patch []byte
	// Remove removes the container when its bundle's hook unmounts it.
	Remove bool
	// IDs is how the layers of a container with a user namespace get its ids:
	// IDsMapped, IDsCopied, or "" for whichever works, the first if it does.
	IDs string
	// Overlay is OverlayKernel, OverlayFuse, or "" for whichever works.
	Overlay string
	// NoFiles leaves out /etc/hosts, /etc/hostname and /etc/resolv.conf.
	NoFiles bool
}

// The ways to give layers the ids of a user namespace: by mounts that map ids,
// or by a copy that belongs to them.
const (
	IDsMapped = "mapped"
	IDsCopied = "copied"
)

// The ways to stack layers.
const (
	OverlayKernel = "kernel"
	OverlayFuse   = "fuse-overlayfs"
)

// maxHostname is __NEW_UTS_LEN of the kernel, in bytes.
const maxHostname = 64

// DefaultShmSize is the size of /dev/shm in bytes, as docker has it.
const DefaultShmSize = 64 << 20

// Create makes a container of an image, mounts it and writes its bundle.
func (p *Preparer) Create(ctx context.Context, ref string, o CreateOptions) (_ *store.Container, err error) {
	if ref == "" {
		return nil, errors.New("prepare: the image is empty")
	}
	if len(o.Names) == 0 || o.Names[0] == "" {
		return nil, errors.New("prepare: the container's name is empty")
	}
	defer func() { err = p.afterFull(err) }()
	use, err := p.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Unlock()
	if err := p.dropHalfMade(o.Names); err != nil {
		return nil, err
	}
	c := &store.Container{
		ID: store.NewContainerID(), Name: o.Names[0], Names: o.Names, CreatedAt: time.Now().UTC(),
		MountLabel: o.Config.MountLabel, Labels: o.Labels, Ephemeral: o.Ephemeral,
		UIDMappings: o.Config.UIDMappings, GIDMappings: o.Config.GIDMappings,
		Overlay: o.Overlay, Hosts: o.Hosts, DNS: o.DNS, Remove: o.Remove, ShmSize: o.ShmSize,
	}
	if c.ShmSize == 0 {
		c.ShmSize = DefaultShmSize
	}
	if !o.NoFiles {
		c.Files = []string{"hosts", "hostname", "resolv.conf"}
	}
	c.Hostname = o.Config.Hostname
	if c.Hostname == "" {
		c.Hostname = c.Name[:min(len(c.Name), maxHostname)]
	}
	o.Config.Hostname = c.Hostname
	img, err := p.source(ctx, ref, c, o)
	if err != nil {
		return nil, err
	}
	lock, err := p.place(c)
	if err != nil {
		return nil, fmt.Errorf("prepare container %q: %w", c.Name, err)
	}
	defer lock.Unlock()
	var undo cleanup.Stack
	defer undo.On(&err)
	undo.Add("remove container "+c.Name, func() error { return p.remove(c) })
	if err := p.lease(c, &o); err != nil {
		return nil, err
	}
	if err := p.mountWithIDs(ctx, c, o.IDs); err != nil {
		return nil, fmt.Errorf("prepare container %q: %w", c.Name, err)
	}
	doc, err := p.config(ctx, c, img, o)
	if err != nil {
		return nil, fmt.Errorf("prepare container %q: %w", c.Name, err)
	}
	// The config is the last: where it is, the container is whole.
	if err := store.WriteFile(p.Store.Bundle(c.ID)+"/config.json", doc, 0o600); err != nil {
		return nil, err
	}
	undo.Release()
	return c, nil
}

// source finds or imports what the container is made of.
func (p *Preparer) source(ctx context.Context, ref string, c *store.Container, o CreateOptions) (*ocispec.Image, error) {
	if dir, ok := strings.CutPrefix(ref, "rootfs:"); ok {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(abs)
		if err != nil {
			return nil, fmt.Errorf("image %q: %w", ref, err)
		}
		if !st.IsDir() {
			return nil, fmt.Errorf("image %q: it is not a directory", ref)
		}
		c.Rootfs, c.ImageName = abs, ref
		// An ephemeral one leaves the directory as it is.
		c.Writable = o.Ephemeral
		return &ocispec.Image{Config: ocispec.ImageConfig{Cmd: []string{"/bin/sh"}}}, nil
	}
	i, err := p.Store.FindImage(ref)
	if errors.Is(err, store.ErrNoImage) {
		notFound := err
		if o.Overlay == OverlayFuse && o.Format == "" {
			o.Format = store.FormatDirectory // it stacks nothing else
		}
		i, err = p.importImage(ctx, ref, o.ImportOptions)
		if errors.Is(err, image.ErrNoReference) {
			err = notFound
		}
	}
	if err != nil {
		return nil, err
	}
	c.ImageID, c.Layers, c.Writable = i.ID, i.Layers, true
	c.ImageName = ref
	if len(i.Names) > 0 {
		c.ImageName = i.Names[0]
	}
	if len(c.Layers) == 0 {
		return nil, fmt.Errorf("image %q: it has no layers", ref)
	}
	_, img, err := p.Store.ImageConfig(i.ID)
	return img, err
}

// place makes the container's directory, and locks it before anybody can see it.
func (p *Preparer) place(c *store.Container) (lock *store.Lock, err error) {
	tmp, err := p.Store.Temp()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Store.Discard(tmp))
		}
	}()
	if lock, err = store.LockNew(tmp); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Unlock()
		}
	}()
	for _, d := range []string{"bundle", "bundle/rootfs", "volumes"} {
		if err := os.Mkdir(tmp+"/"+d, 0o755); err != nil {
			return nil, err
		}
	}
	if c.Writable {
		if err := os.Mkdir(tmp+"/upper", 0o755); err != nil {
			return nil, err
		}
		if err := p.likeRoot(c, tmp+"/upper"); err != nil {
			return nil, err
		}
	}
	return lock, p.Store.AddContainer(tmp, c)
}

// likeRoot makes a directory that is the top of a stack look like the root of
// the layers below: of the topmost that describes its root.
func (p *Preparer) likeRoot(c *store.Container, name string) error {
	like := c.Rootfs
	for i := len(c.Layers) - 1; i >= 0; i-- {
		l, err := p.Store.Layer(c.Layers[i])
		if err != nil {
			return fmt.Errorf("layer %s: %w", c.Layers[i], err)
		}
		if l.Root || i == 0 {
			d, err := p.openLayer(l)
			if err != nil {
				return err
			}
			defer d.Close()
			return p.copyAttributes(c, d.File, name)
		}
	}
	d, err := openPath(like)
	if err != nil {
		return err
	}
	defer d.Close()
	return p.copyAttributes(c, d, name)
}

func (p *Preparer) copyAttributes(c *store.Container, from *os.File, name string) error {
	to, err := openPath(name)
	if err != nil {
		return err
	}
	defer to.Close()
	return layer.CopyAttributes(from, to, hostIDs(c))
}

// config makes the config.json of a container that is mounted.
func (p *Preparer) config(ctx context.Context, c *store.Container, img *ocispec.Image, o CreateOptions) ([]byte, error) {
	root, err := openPath(p.rootfs(c))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var f config.Facts
	if f.Identity, err = config.Identify(root, config.UserSpec(img.Config, o.Config)); err != nil {
		return nil, err
	}
	uid, gid := mappedRoot(c)
	if err := makeDirs(root, config.Cwd(img.Config, o.Config), uid, gid); err != nil {
		return nil, fmt.Errorf("make the working directory: %w", err)
	}
	if f.Volumes, err = p.volumes(ctx, c, root, img); err != nil {
		return nil, err
	}
	f.Files = map[string]string{}
	for _, name := range c.Files {
		f.Files["/etc/"+name] = p.Store.RunDir(c.ID) + "/" + name
	}
	f.Shm = p.shm(c)
	var own []specs.Hook
	if len(p.Self) > 0 {
		own = []specs.Hook{{Path: p.Self[0], Args: append(append([]string{}, p.Self...), "unmount", "--hook", c.ID)}}
	}
	spec, err := config.Build(img, o.Config, f)
	if err != nil {
		return nil, err
	}
	if err := p.seccomp(spec, o.Seccomp); err != nil {
		return nil, err
	}
	doc, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	if o.Patch != nil {
		if doc, err = jsonpatch.MergePatch(doc, o.Patch); err != nil {
			return nil, fmt.Errorf("config patch: %w", err)
		}
	}
	bindMounts := slices.ContainsFunc(o.Config.Mounts, func(m specs.Mount) bool { return m.Type == "bind" })
	if doc, err = p.hooks(ctx, doc, o.HooksDirs, bindMounts, own); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, doc, "", "  "); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
