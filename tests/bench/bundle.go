package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

// engineConfig is what Docker wrote for "docker run".
const engineConfig = "tests/integration/testdata/docker-20.10-run-sleep.json"

// makeRootfs makes a root filesystem of busybox, with the files that an engine's
// config binds onto.
func makeRootfs(dir string) error {
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w (Debian: busybox-static)", err)
	}
	if err := copyFile(busybox, filepath.Join(dir, "bin/busybox"), 0o755); err != nil {
		return err
	}
	for _, applet := range []string{"true", "sleep", "sh"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", applet)); err != nil {
			return err
		}
	}
	for _, file := range []string{"resolv.conf", "hostname", "hosts"} {
		if err := os.WriteFile(filepath.Join(dir, "etc", file), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plainSpec is the config that the verb spec writes.
func plainSpec() (*specs.Spec, error) {
	s := spec.Example(false)
	s.Process.Terminal = false
	return s, nil
}

// engineSpec is an engine's config with its own files in the place of Docker's.
//
// It has no hook, which would be measured with the runtime.
func (b *bench) engineSpec() (*specs.Spec, error) {
	text, err := os.ReadFile(engineConfig)
	if err != nil {
		return nil, fmt.Errorf("%w (run it in the repository's root)", err)
	}
	s := new(specs.Spec)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	s.Hooks = nil
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Type != "bind" {
			continue
		}
		m.Source = filepath.Join(b.dir, filepath.Base(m.Source))
		if err := os.WriteFile(m.Source, []byte("192.0.2.1 box\n"), 0o644); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// withBinds is an engine's config with n more bind mounts.
func (b *bench) withBinds(n int) (*specs.Spec, error) {
	s, err := b.engineSpec()
	if err != nil {
		return nil, err
	}
	for i := range n {
		source := filepath.Join(b.dir, "binds", strconv.Itoa(i))
		if err := os.MkdirAll(source, 0o755); err != nil {
			return nil, err
		}
		for _, c := range b.competitors {
			if err := os.MkdirAll(filepath.Join(c.rootfs, "mnt", strconv.Itoa(i)), 0o755); err != nil {
				return nil, err
			}
		}
		s.Mounts = append(s.Mounts, specs.Mount{
			Destination: "/mnt/" + strconv.Itoa(i), Type: "bind", Source: source, Options: []string{"rbind", "rprivate"},
		})
	}
	return s, nil
}

// sized is an engine's config, or for a small one the plain config, which one
// long annotation makes n bytes.
func (b *bench) sized(n int) (*specs.Spec, error) {
	s, err := plainSpec()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if more := n - len(text); more > 0 {
		s.Annotations = map[string]string{"org.example.padding": strings.Repeat("0123456789abcdef", more/16)}
	}
	return s, nil
}

// bundle writes a bundle of the competitor's and returns its directory. For the
// floor the config is compiled there.
func (b *bench) bundle(c *competitor, s *specs.Spec, args ...string) (string, error) {
	c.bundles++
	dir := filepath.Join(b.dir, "bundles", c.name, strconv.Itoa(c.bundles))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	parent := os.Getenv("GOURD_BENCH_CGROUP")
	s.Version = "1.0.2" // the newest that all of them take
	// Nor has any limits: those that are there say nothing, and crun 1.8 of Debian 12
	// wants CAP_SYS_RESOURCE for device rules and all controllers for a weight of 0.
	s.Linux.Resources = nil
	s.Root.Path = c.rootfs
	s.Process.Args = args
	s.Linux.CgroupsPath = fmt.Sprintf("/%s/%s-%d", parent, c.name, c.bundles)
	var data []byte
	var err error
	file := "config.json"
	if c.isFloor() {
		file = "plan"
		p, perr := compileFloor(s, dir, filepath.Join(cgroupRoot, parent))
		if perr != nil {
			return "", perr
		}
		data, err = protocol.Marshal(p)
	} else {
		data, err = json.Marshal(s)
	}
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, file), data, 0o644)
}

// runLine is the command line of a run in the foreground.
func (c *competitor) runLine(bundle, id string) []string {
	if c.isFloor() {
		return []string{c.path, "floor", filepath.Join(bundle, "plan"), id}
	}
	return []string{c.path, "--root", c.root, "run", "--bundle", bundle, id}
}
