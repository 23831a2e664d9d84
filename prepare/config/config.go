// Package config turns an image's config, what a person asks for and a few
// facts into the config.json of a bundle, by the conversion rules of the
// image-spec (conversion.md).
//
// It is pure: what has to be looked up in the root filesystem, such as who the
// user is, comes in as a fact (see Identify, the one exception, which reads two
// files below a directory). It does not check the config: the runtime does.
package config

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Request is what a person asks for. The zero value asks for the image as it is.
type Request struct {
	// Command replaces the image's command, or is the whole of it where there
	// is no entrypoint; Entrypoint replaces the entrypoint, with none the
	// image's command is left out, too.
	Command    []string
	Entrypoint *[]string
	// Env are variables, NAME=VALUE; Unset are names that the image's are
	// taken away of.
	Env, Unset []string
	// User is USER[:GROUP], by name or id; Cwd the working directory.
	User, Cwd string
	Hostname  string
	// Terminal gives the process a terminal, ReadOnly makes the root
	// filesystem read-only to it.
	Terminal, ReadOnly bool
	// NoNewPrivileges keeps set-user-ID programs from gaining anything.
	NoNewPrivileges bool
	// Mounts are further mounts; they take the place of others at the same
	// destination.
	Mounts []specs.Mount
	// Memory is in bytes, CPUs how many processors' time; 0: no limit.
	Memory, Pids int64
	CPUs         float64
	// Network is "none" (a namespace of its own, with a loopback interface),
	// "host", or the path of a namespace; "" is none.
	Network string
	// CapAdd and CapDrop change the default capabilities; "ALL" is all.
	CapAdd, CapDrop []string
	// Seccomp is the profile; nil: none.
	Seccomp *specs.LinuxSeccomp
	// UIDMappings and GIDMappings make a user namespace.
	UIDMappings, GIDMappings []specs.LinuxIDMapping
	// MountLabel and ProcessLabel are SELinux labels.
	MountLabel, ProcessLabel string
	// Annotations are added; they come before the image's.
	Annotations map[string]string
	// Rootless leaves out what an ordinary user may not ask for.
	Rootless bool
}

// Facts is what is known of the root filesystem and the container.
type Facts struct {
	// Identity is who Request.User, or else the image's, is.
	Identity Identity
	// Volumes are the directories that stand for the image's volumes, by
	// their place in the container.
	Volumes map[string]string
	// Files are host files that are bound, by their place in the container.
	Files map[string]string
	// Shm is the directory that becomes /dev/shm; "": a small one is made.
	Shm string
}

// defaultPath is what images get that say nothing (conversion.md leaves it open).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Build returns the config.
func Build(img *ocispec.Image, r Request, f Facts) (*specs.Spec, error) {
	args, err := arguments(img.Config, r)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(r.CapAdd, r.CapDrop)
	if err != nil {
		return nil, err
	}
	mounts, err := mounts(r, f)
	if err != nil {
		return nil, err
	}
	namespaces, err := namespaces(r)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs", Readonly: r.ReadOnly},
		Process: &specs.Process{
			Terminal: r.Terminal,
			User:     f.Identity.User(),
			Args:     args,
			Env:      environment(img.Config, r, f.Identity),
			Cwd:      Cwd(img.Config, r),
			// Ambient and inheritable sets are empty: an ordinary user in the
			// container has no capabilities (CVE-2022-24769).
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			NoNewPrivileges: r.NoNewPrivileges,
			SelinuxLabel:    r.ProcessLabel,
		},
		Hostname:    r.Hostname,
		Mounts:      mounts,
		Annotations: annotations(img, r),
		Linux: &specs.Linux{
			Namespaces:    namespaces,
			UIDMappings:   r.UIDMappings,
			GIDMappings:   r.GIDMappings,
			Resources:     resources(r),
			Seccomp:       r.Seccomp,
			MountLabel:    r.MountLabel,
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if f.Identity.UID != 0 {
		// What an ordinary user's process may use is what it could have anyway.
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = nil, nil
	}
	return s, nil
}

// arguments are the entrypoint and the command (conversion.md, "Verbatim Fields").
func arguments(c ocispec.ImageConfig, r Request) ([]string, error) {
	entry, cmd := c.Entrypoint, c.Cmd
	if r.Entrypoint != nil {
		entry, cmd = *r.Entrypoint, nil
	}
	if len(r.Command) > 0 {
		cmd = r.Command
	}
	args := slices.Concat(entry, cmd)
	if len(args) == 0 {
		return nil, errors.New("the image has neither an entrypoint nor a command: give one")
	}
	return args, nil
}

// environment is the image's, then what is asked for. A name occurs once.
func environment(c ocispec.ImageConfig, r Request, id Identity) []string {
	var env []string
	set := func(kv string, replace bool) {
		name, _, _ := strings.Cut(kv, "=")
		for i, e := range env {
			if n, _, _ := strings.Cut(e, "="); n == name {
				if replace {
					env[i] = kv
				}
				return
			}
		}
		env = append(env, kv)
	}
	for _, kv := range c.Env {
		set(kv, true)
	}
	for _, kv := range r.Env {
		set(kv, true)
	}
	set(defaultPath, false)
	if r.Terminal {
		set("TERM=xterm", false)
	}
	if id.Home != "" {
		set("HOME="+id.Home, false)
	}
	if r.Hostname != "" {
		set("HOSTNAME="+r.Hostname, false)
	}
	return slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(r.Unset, name)
	})
}

// Cwd is the working directory, which has to be made if it is not there.
func Cwd(c ocispec.ImageConfig, r Request) string {
	cwd := c.WorkingDir
	if r.Cwd != "" {
		cwd = r.Cwd
	}
	return path.Clean("/" + cwd)
}

// UserSpec is which user is asked for.
func UserSpec(c ocispec.ImageConfig, r Request) string {
	if r.User != "" {
		return r.User
	}
	return c.User
}

// Annotations of conversion.md, "Annotation Fields".
const (
	annOS           = "org.opencontainers.image.os"
	annOSVersion    = "org.opencontainers.image.os.version"
	annOSFeatures   = "org.opencontainers.image.os.features"
	annArchitecture = "org.opencontainers.image.architecture"
	annVariant      = "org.opencontainers.image.variant"
	annAuthor       = "org.opencontainers.image.author"
	annCreated      = "org.opencontainers.image.created"
	annStopSignal   = "org.opencontainers.image.stopSignal"
	annExposedPorts = "org.opencontainers.image.exposedPorts"
)

// annotations are the image's fields, over them its labels, over them what is
// asked for.
func annotations(img *ocispec.Image, r Request) map[string]string {
	a := map[string]string{}
	put := func(k, v string) {
		if v != "" {
			a[k] = v
		}
	}
	put(annOS, img.OS)
	put(annOSVersion, img.OSVersion)
	put(annOSFeatures, strings.Join(img.OSFeatures, ","))
	put(annArchitecture, img.Architecture)
	put(annVariant, img.Variant)
	put(annAuthor, img.Author)
	if img.Created != nil {
		put(annCreated, img.Created.Format("2006-01-02T15:04:05.999999999Z07:00"))
	}
	put(annStopSignal, img.Config.StopSignal)
	ports := make([]string, 0, len(img.Config.ExposedPorts))
	for p := range img.Config.ExposedPorts {
		ports = append(ports, p)
	}
	sort.Strings(ports)
	put(annExposedPorts, strings.Join(ports, ","))
	for k, v := range img.Config.Labels {
		a[k] = v
	}
	for k, v := range r.Annotations {
		a[k] = v
	}
	if len(a) == 0 {
		return nil
	}
	return a
}

// resources are the limits. Devices are denied but for those that every
// container has, which the runtime adds.
func resources(r Request) *specs.LinuxResources {
	if r.Rootless && r.Memory == 0 && r.CPUs == 0 && r.Pids == 0 {
		return nil
	}
	res := &specs.LinuxResources{}
	if !r.Rootless {
		res.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	}
	if r.Memory != 0 {
		res.Memory = &specs.LinuxMemory{Limit: &r.Memory}
	}
	if r.CPUs != 0 {
		period := uint64(100_000)
		quota := int64(r.CPUs * float64(period))
		res.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	if r.Pids != 0 {
		res.Pids = &specs.LinuxPids{Limit: &r.Pids}
	}
	return res
}

func namespaces(r Request) ([]specs.LinuxNamespace, error) {
	ns := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
	}
	switch {
	case r.Network == "" || r.Network == "none":
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	case r.Network == "host":
	case strings.HasPrefix(r.Network, "/"):
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: r.Network})
	default:
		return nil, fmt.Errorf("network %q: it is none, host or the path of a network namespace", r.Network)
	}
	if len(r.UIDMappings) > 0 {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	return ns, nil
}

func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}
