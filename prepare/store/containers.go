// containers.go: containers and their metadata.

package store

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/linux"
)

// Container is what meta.json says.
type Container struct {
	ID string `json:"id"`
	// Name is its first name, Names all of them.
	Name      string        `json:"name"`
	Names     []string      `json:"names"`
	ImageName string        `json:"image-name"`
	ImageID   digest.Digest `json:"image-id"`
	CreatedAt time.Time     `json:"created-at"`
	// MountLabel is the SELinux label of its root filesystem.
	MountLabel string `json:"mountlabel"`
	// Labels are free for who made it.
	Labels map[string]string `json:"labels,omitempty"`
	// Layers are the keys of the layers below it, the base first. Rootfs is
	// the directory that is its root filesystem, if it has no image.
	Layers []string `json:"layers,omitempty"`
	Rootfs string   `json:"rootfs,omitempty"`
	// Writable says that it has a writable layer; Ephemeral that this one is
	// emptied at mount and unmount.
	Writable  bool `json:"writable"`
	Ephemeral bool `json:"ephemeral,omitempty"`
	// UIDMappings and GIDMappings are those of its user namespace: its layers
	// hold container ids and are mapped when they are mounted; with Chowned
	// they are a copy with host ids, because the kernel could not map them. The
	// writable layer holds host ids.
	UIDMappings []specs.LinuxIDMapping `json:"uid-mappings,omitempty"`
	GIDMappings []specs.LinuxIDMapping `json:"gid-mappings,omitempty"`
	Chowned     bool                   `json:"chowned,omitempty"`
	// Overlay is how its layers are stacked: "" is by the kernel, or where a
	// user namespace may not, by fuse-overlayfs; "kernel" and "fuse-overlayfs"
	// are one alone.
	Overlay string `json:"overlay,omitempty"`
	// ShmSize is the size of /dev/shm in bytes; 0: it has none of its own.
	ShmSize int64 `json:"shm-size,omitempty"`
	// Hosts are lines for its /etc/hosts; Hostname and DNS go into its files.
	Hostname string   `json:"hostname,omitempty"`
	Hosts    []string `json:"hosts,omitempty"`
	DNS      []string `json:"dns,omitempty"`
	// Files are the names below /etc that are made for it and bound.
	Files []string `json:"files,omitempty"`
	// Address is the address it has a lease of.
	Address string `json:"address,omitempty"`
	// Remove says that it is removed when it is unmounted by its hook.
	Remove bool `json:"remove,omitempty"`
}

// ContainerDir lasts; RunDir does not.
func (s *Store) ContainerDir(id string) string { return s.Root + "/containers/" + id }

// RunDir is for what a reboot ends.
func (s *Store) RunDir(id string) string { return s.Run + "/" + id }

// Bundle is the directory that the runtime is given.
func (s *Store) Bundle(id string) string { return s.ContainerDir(id) + "/bundle" }

var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.+-]{0,254}$`)

// ContainerIDs lists what is in the place of containers, with metadata or not.
func (s *Store) ContainerIDs() ([]string, error) { return s.ids("containers") }

// Containers returns all containers, the oldest first.
func (s *Store) Containers() ([]Container, error) {
	ids, err := s.ContainerIDs()
	if err != nil {
		return nil, err
	}
	var all []Container
	for _, id := range ids {
		if !validHex(id) {
			continue
		}
		c, err := s.Container(id)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, *c)
	}
	sort.Slice(all, func(a, b int) bool { return all[a].CreatedAt.Before(all[b].CreatedAt) })
	return all, nil
}

// Container reads the metadata of the container with an id.
func (s *Store) Container(id string) (*Container, error) {
	var c Container
	if err := readJSON(s.ContainerDir(id)+"/meta.json", &c); err != nil {
		return nil, err
	}
	if c.ID != id {
		return nil, fmt.Errorf("container %s: meta.json is of %q", id, c.ID)
	}
	return &c, nil
}

// FindContainer finds a container by name, id, or unambiguous start of an id.
func (s *Store) FindContainer(ref string) (*Container, error) {
	if ref == "" {
		return nil, errors.New("container: the name is empty")
	}
	all, err := s.Containers()
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(all))
	for i := range all {
		if slices.Contains(all[i].Names, ref) {
			return &all[i], nil
		}
		ids[i] = all[i].ID
	}
	id, err := match(ref, ids)
	if errors.Is(err, ErrAmbiguous) {
		return nil, fmt.Errorf("container %q: %w", ref, err)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", ref, ErrNoContainer)
	}
	return s.Container(id)
}

// NewContainerID returns an id for AddContainer.
func NewContainerID() string { return newID() }

// AddContainer places a container whose directory has been made at tmp. Its
// names must be free.
func (s *Store) AddContainer(tmp string, c *Container) error {
	l, err := s.lockNames()
	if err != nil {
		return err
	}
	defer l.Unlock()
	if err := s.checkNames(c); err != nil {
		return err
	}
	if err := writeJSON(tmp+"/meta.json", c); err != nil {
		return err
	}
	return s.place(tmp, s.ContainerDir(c.ID))
}

// checkNames checks that the names are valid, and no other container's.
func (s *Store) checkNames(c *Container) error {
	if len(c.Names) == 0 || c.Name != c.Names[0] {
		return errors.New("container: the name is empty")
	}
	all, err := s.Containers()
	if err != nil {
		return err
	}
	for _, n := range c.Names {
		if !containerName.MatchString(n) || validHex(n) {
			return fmt.Errorf("container name %q: it must begin with a letter or digit, and then may have also _ . + -", n)
		}
		for _, o := range all {
			if o.ID != c.ID && slices.Contains(o.Names, n) {
				return fmt.Errorf("container name %q: container %.12s has it: %w", n, o.ID, ErrNameTaken)
			}
		}
	}
	return nil
}

// ChangeContainer reads a container's metadata, changes and writes it, with no
// other change in between. The names are checked.
func (s *Store) ChangeContainer(id string, change func(c *Container) error) (*Container, error) {
	l, err := s.lockNames()
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	c, err := s.Container(id)
	if err != nil {
		return nil, err
	}
	if err := change(c); err != nil {
		return nil, err
	}
	if c.ID != id {
		return nil, errors.New("container: its id cannot be changed")
	}
	if err := s.checkNames(c); err != nil {
		return nil, err
	}
	return c, writeJSON(s.ContainerDir(id)+"/meta.json", c)
}

// LockContainer locks what is done with a container: mounting, removing.
func (s *Store) LockContainer(id string) (*Lock, error) {
	l, err := flock(s.ContainerDir(id)+"/lock", unix.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("container %.12s: %w", id, ErrNoContainer)
	}
	if err != nil {
		return nil, err
	}
	// It may have been removed while this waited.
	if _, err := os.Lstat(s.ContainerDir(id) + "/meta.json"); err != nil {
		l.Unlock()
		return nil, fmt.Errorf("container %.12s: %w", id, ErrNoContainer)
	}
	return l, nil
}

// LockNew locks a container that is being made at tmp.
func LockNew(tmp string) (*Lock, error) { return flock(tmp+"/lock", unix.LOCK_EX) }

// TryLockContainer is LockContainer, but does not wait.
func (s *Store) TryLockContainer(id string) (*Lock, bool, error) {
	l, err := flock(s.ContainerDir(id)+"/lock", unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || isGone(err) {
		return nil, false, nil
	}
	return l, err == nil, err
}

// RemoveContainer removes a container's directories. It must be locked and
// unmounted.
func (s *Store) RemoveContainer(id string) error {
	run, err := os.Open(s.Run)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := linux.RemoveTree(int(run.Fd()), id); err != nil {
		return err
	}
	return s.Discard(s.ContainerDir(id))
}
