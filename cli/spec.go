// spec.go: gourd spec.

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/libcontainer/spec"
)

func specVerb() *verb {
	return &verb{
		name:    "spec",
		summary: "Write a config.json to start from",
		more: "The process is sh, in ./rootfs, with new namespaces and few capabilities; edit it to what you\n" +
			"need. An existing config.json is not overwritten. With --hello the bundle is complete: its root\n" +
			"filesystem holds only gourd itself, which then prints what the container sees.",
		example: "gourd spec --hello --bundle /tmp/hello\ngourd run --bundle /tmp/hello hello",
		flags: func() []cli.Flag {
			return []cli.Flag{
				&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Usage: "write to `DIR` (default: the current directory); --hello makes it"},
				&cli.BoolFlag{Name: "rootless", Usage: "for a container that is run without root: a user namespace, no cgroup limits"},
				&cli.BoolFlag{Name: "hello", Usage: "make a whole bundle that runs \"gourd hello\""},
			}
		},
		run: writeSpec,
	}
}

// configName is the file name that the runtime-spec gives the config (bundle.md).
const configName = "config.json"

func writeSpec(p *program, c *cli.Context) error {
	bundle := c.String("bundle")
	if bundle == "" {
		bundle = "."
	}
	if !c.Bool("hello") {
		return writeConfig(bundle, spec.Example(c.Bool("rootless")))
	}
	return writeHello(bundle, spec.Hello(c.Bool("rootless")))
}

// writeConfig writes bundle/config.json, which must not exist.
func writeConfig(bundle string, s *specs.Spec) (err error) {
	name := filepath.Join(bundle, configName)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already; remove it first: %w", name, err)
	}
	if err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.On(&err)
	undo.Add("remove "+name, func() error { return os.Remove(name) })
	if err := writeJSON(f, s, "\t"); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	undo.Release()
	return nil
}

// writeHello makes a bundle whose root filesystem holds gourd alone. The config
// is written last: where it is, the bundle is whole.
func writeHello(bundle string, config *specs.Spec) error {
	if _, err := os.Lstat(filepath.Join(bundle, configName)); err == nil {
		return fmt.Errorf("%s exists already; remove it first: %w", filepath.Join(bundle, configName), os.ErrExist)
	}
	rootfs := filepath.Join(bundle, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	if err := copySelf(filepath.Join(rootfs, "gourd")); err != nil {
		return err
	}
	return writeConfig(bundle, config)
}

// copySelf copies the running program to name, which must not exist: another
// program of this name is not ours to replace.
func copySelf(name string) (err error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open the running program: %w", err)
	}
	defer self.Close()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	var undo cleanup.Stack
	defer undo.On(&err)
	undo.Add("remove "+name, func() error { return os.Remove(name) })
	if _, err := io.Copy(f, self); err != nil { // copy_file_range, where the file system has it
		f.Close()
		return fmt.Errorf("copy gourd to %s: %w", name, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	undo.Release()
	return nil
}
