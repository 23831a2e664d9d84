package config

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mounts are those of every container, then the image's volumes and the files
// made for it, then what is asked for; the shallower first, and of two at one
// place the last.
func mounts(r Request, f Facts) ([]specs.Mount, error) {
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
	if len(r.UIDMappings) > 0 && r.Network == "host" {
		// sysfs can be mounted only by who owns the network namespace.
		list[5] = specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
	}
	if f.Shm != "" {
		list[3] = specs.Mount{Destination: "/dev/shm", Type: "bind", Source: f.Shm, Options: []string{"bind", "rprivate", "nosuid", "noexec", "nodev"}}
	}
	more := func(m map[string]string, options ...string) {
		var at []string
		for d := range m {
			at = append(at, d)
		}
		sort.Strings(at)
		for _, d := range at {
			list = put(list, specs.Mount{Destination: d, Type: "bind", Source: m[d], Options: options})
		}
	}
	more(f.Volumes, "rbind", "rprivate")
	more(f.Files, "bind", "rprivate")
	for _, m := range r.Mounts {
		if !strings.HasPrefix(m.Destination, "/") {
			return nil, fmt.Errorf("mount %q: the destination must be absolute", m.Destination)
		}
		list = put(list, m)
	}
	sort.SliceStable(list, func(a, b int) bool { return depth(list[a].Destination) < depth(list[b].Destination) })
	return list, nil
}

func put(list []specs.Mount, m specs.Mount) []specs.Mount {
	m.Destination = path.Clean(m.Destination)
	list = slices.DeleteFunc(list, func(o specs.Mount) bool { return o.Destination == m.Destination })
	return append(list, m)
}

func depth(p string) int {
	if p == "/" {
		return 0
	}
	return strings.Count(p, "/")
}

// ParseVolume reads SOURCE:DESTINATION[:OPTIONS], as -v has it.
func ParseVolume(s string) (specs.Mount, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return specs.Mount{}, fmt.Errorf("volume %q: it is SOURCE:DESTINATION[:OPTIONS]", s)
	}
	if !strings.ContainsRune(parts[0], '/') && parts[0] != "." && parts[0] != ".." {
		return specs.Mount{}, fmt.Errorf("volume %q: %q is no path, and there are no named volumes", s, parts[0])
	}
	src, err := filepath.Abs(parts[0])
	if err != nil {
		return specs.Mount{}, err
	}
	m := specs.Mount{Destination: parts[1], Type: "bind", Source: src}
	options := []string{"rbind"}
	if len(parts) == 3 {
		for o := range strings.SplitSeq(parts[2], ",") {
			switch o {
			case "z", "Z", "U", "O":
				return specs.Mount{}, fmt.Errorf("volume %q: option %q is not built", s, o)
			case "bind", "rbind":
				options[0] = o
			case "":
				return specs.Mount{}, fmt.Errorf("volume %q: an option is empty", s)
			default:
				options = append(options, o)
			}
		}
	}
	m.Options = withPropagation(options)
	return m, nil
}

func withPropagation(options []string) []string {
	for _, o := range options {
		switch o {
		case "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable":
			return options
		}
	}
	return append(options, "rprivate")
}

// ParseMount reads type=bind,src=…,dst=…[,ro] or type=tmpfs,dst=…, as --mount
// has it.
func ParseMount(s string) (specs.Mount, error) {
	m := specs.Mount{Type: "bind"}
	bad := func(err error) (specs.Mount, error) { return specs.Mount{}, fmt.Errorf("mount %q: %w", s, err) }
	var options []string
	for field := range strings.SplitSeq(s, ",") {
		key, value, has := strings.Cut(field, "=")
		switch key {
		case "type":
			m.Type = value
		case "src", "source":
			m.Source = value
		case "dst", "destination", "target":
			m.Destination = value
		case "ro", "readonly":
			if !has || value == "true" || value == "1" {
				options = append(options, "ro")
			} else if value != "false" && value != "0" {
				return bad(fmt.Errorf("%q is neither true nor false", field))
			}
		case "tmpfs-size", "size":
			n, err := ParseSize(value)
			if err != nil {
				return bad(err)
			}
			options = append(options, "size="+strconv.FormatInt(n, 10))
		case "tmpfs-mode", "mode":
			options = append(options, "mode="+value)
		case "bind-propagation":
			options = append(options, value)
		case "":
			return bad(errors.New("a field is empty"))
		default:
			if has {
				return bad(fmt.Errorf("field %q is not known", key))
			}
			options = append(options, key)
		}
	}
	if m.Destination == "" {
		return bad(errors.New("dst is missing"))
	}
	switch m.Type {
	case "bind":
		if m.Source == "" {
			return bad(errors.New("src is missing"))
		}
		src, err := filepath.Abs(m.Source)
		if err != nil {
			return bad(err)
		}
		m.Source = src
		m.Options = withPropagation(append([]string{"rbind"}, options...))
	case "tmpfs":
		if m.Source != "" {
			return bad(errors.New("a tmpfs has no src"))
		}
		m.Source = "tmpfs"
		m.Options = append([]string{"nosuid", "nodev"}, options...)
	default:
		return bad(fmt.Errorf("type %q is neither bind nor tmpfs", m.Type))
	}
	return m, nil
}

// ParseSize reads a number of bytes, with a unit of 1024: "64m", "1.5GiB".
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(strings.ToLower(s), "bi")
	shift := 0
	if digits != "" {
		if i := strings.IndexByte("kmgt", digits[len(digits)-1]); i >= 0 {
			shift, digits = 10*(i+1), digits[:len(digits)-1]
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v >= 0) || v*float64(int64(1)<<shift) >= 1<<62 {
		return 0, fmt.Errorf("size %q: it is a number of bytes, or one with a unit such as 64m", s)
	}
	return int64(v * float64(int64(1)<<shift)), nil
}
