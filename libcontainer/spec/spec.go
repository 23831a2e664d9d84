// Package spec reads a bundle's config.json and checks its structure: the
// rules of runtime-spec v1.3.0 (config.md, config-linux.md) that concern no
// single mechanism, each defect with its JSON path.
//
// It does not turn the config into anything: rootfs, credentials, cgroups,
// hooks and seccomp compile, and check, their own parts. It does not touch
// the host, but for reading the bundle.
package spec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/internal/trace"
)

// ConfigName is the name of the config in a bundle (bundle.md).
const ConfigName = "config.json"

// maxConfig is how large a config may be, in bytes. Real ones, seccomp profile
// included, have less than a hundredth of it; a limit keeps a wrong file from
// filling the memory.
const maxConfig = 16 << 20

// Bundle is a directory with a config.json in it, as read.
type Bundle struct {
	Dir  string      // absolute, without symlinks
	Spec *specs.Spec // never nil
	Raw  []byte      // the bytes that Spec was decoded from
}

// RootPath returns the absolute path of the root filesystem: root.path, taken
// relative to the bundle. It returns "" when the config has none.
func (b *Bundle) RootPath() string {
	switch {
	case b.Spec.Root == nil || b.Spec.Root.Path == "":
		return ""
	case filepath.IsAbs(b.Spec.Root.Path):
		return filepath.Clean(b.Spec.Root.Path)
	}
	return filepath.Join(b.Dir, b.Spec.Root.Path)
}

// Load reads and decodes DIR/config.json. The directory's path is resolved
// once and the file read once, so that what is checked is what is used.
//
// Its error is a *SyntaxError with line and column when the file is not JSON,
// a *defect.Error with every place where a value has the wrong type, and
// unwraps to the errno when the file cannot be read: ENOENT when it is not
// there. Unknown properties, and those of other platforms than Linux, are
// skipped (config.md, "Extensibility" and "Platform-specific configuration").
func Load(dir string) (*Bundle, error) {
	defer trace.Begin("read config.json").End()
	resolved, err := filepath.Abs(dir)
	if err == nil {
		resolved, err = filepath.EvalSymlinks(resolved)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle %q: %w", dir, err)
	}
	raw, err := read(filepath.Join(resolved, ConfigName))
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%s not found in the bundle %s: %w", ConfigName, resolved, unix.ENOENT)
	}
	if err != nil {
		return nil, err
	}
	s, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	return &Bundle{Dir: resolved, Spec: s, Raw: raw}, nil
}

// OutdatedRDT returns a warning for each property of linux.intelRdt that was in
// the spec from 1.1.0 to 1.2.1, and that no runtime ever did.
func (b *Bundle) OutdatedRDT() (warnings []string) {
	var old struct {
		Linux struct {
			IntelRdt struct {
				EnableCMT bool `json:"enableCMT"`
				EnableMBM bool `json:"enableMBM"`
			} `json:"intelRdt"`
		} `json:"linux"`
	}
	if DecodeInto(b.Raw, &old) != nil {
		return nil
	}
	for _, p := range []struct {
		name string
		set  bool
	}{{"enableCMT", old.Linux.IntelRdt.EnableCMT}, {"enableMBM", old.Linux.IntelRdt.EnableMBM}} {
		if p.set {
			warnings = append(warnings, "linux.intelRdt."+p.name+" is ignored: runtime-spec 1.3.0 has enableMonitoring in its place")
		}
	}
	return warnings
}

// read returns the content of a regular file of at most maxConfig bytes.
func read(path string) ([]byte, error) {
	// O_NONBLOCK: a FIFO in the config's place must not hang gourd.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("read %s: it is not a regular file", path)
	}
	if st.Size > maxConfig {
		return nil, fmt.Errorf("read %s: %d bytes are more than the %d that a config may have", path, st.Size, maxConfig)
	}
	// One byte more than the size shows a file that has grown since.
	buf := make([]byte, st.Size+1)
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if m == 0 {
			return buf[:n], nil
		}
		n += m
	}
	return nil, fmt.Errorf("read %s: it grew while it was read: %w", path, io.ErrUnexpectedEOF)
}

// CheckRoot adds a defect when root.path is not a directory. Unlike Check it
// looks at the host.
func CheckRoot(b *Bundle, d *defect.List) {
	path := b.RootPath()
	if path == "" {
		return // Check says so
	}
	if b.Spec.Linux != nil {
		for _, ns := range b.Spec.Linux.Namespaces {
			if ns.Type == specs.MountNamespace && ns.Path != "" {
				return // the path is that namespace's, not the host's
			}
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		d.Add("root.path", "stat %s: %v", path, err)
	} else if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		d.Add("root.path", "%s is not a directory", path)
	}
}
