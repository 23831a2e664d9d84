package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A payload is a directory with what the tests need, the same for the machine's
// second disk and for this host.
type payload struct {
	dir  string
	repo string
}

// tags are what gourd and its tests are built with (see the Makefile).
const tags = "urfave_cli_no_docs"

// pack fills the payload: gourd, the test binaries that the plan runs, with the
// files they read, the plan, and this program for the machine to run.
func (p payload) pack(gourd string, pl plan) error {
	scripts := filepath.Join(p.dir, "integration")
	for _, step := range []string{"cgroups", "systemd", "images", "engines"} {
		if err := os.MkdirAll(filepath.Join(p.dir, step), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		p.write(pl),
		copyFile(gourd, filepath.Join(p.dir, "gourd"), 0o755),
		os.CopyFS(filepath.Join(scripts, "testdata"), os.DirFS(filepath.Join(p.repo, "tests/integration/testdata"))),
		p.build("build", "vm", "./tests/vm"),
		p.build("test", "integration/integration.test", "./tests/integration"),
		p.build("test", "cgroups/cgroups.test", "./cgroups"),
		p.build("test", "systemd/systemd.test", "./tests/systemd"),
		p.build("test", "prepare/prepare.test", "./tests/prepare"),
		p.build("test", "engines/engines.test", "./tests/engines"),
		os.CopyFS(filepath.Join(p.dir, "engines/testdata"), os.DirFS(filepath.Join(p.repo, "tests/engines/testdata"))),
		copyFile(filepath.Join(p.repo, "docs/kubernetes.md"), filepath.Join(p.dir, "engines/testdata/kubernetes.md"), 0o644),
		p.buildIn("tests/cri", "build", "cri", "."),
		p.build("build", "gourd-prepare", "./cmd/gourd-prepare"),
		os.CopyFS(filepath.Join(p.dir, "prepare/testdata"), os.DirFS(filepath.Join(p.repo, "tests/prepare/testdata"))),
		p.addPolicy(pl),
		runTool("sh", filepath.Join(p.repo, "tests/prepare/testdata/images.sh"), filepath.Join(p.dir, "images"), ""),
	)
}

// write writes the plan, over an older one.
func (p payload) write(pl plan) error {
	data, err := json.MarshalIndent(pl, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, planFile), data, 0o644)
}

// addDebian adds the root filesystem that tests/debian-rootfs made, where the
// debian word of the scripts looks for it.
func (p payload) addDebian() error {
	found, err := filepath.Glob(filepath.Join(cacheDir(), "debian-*"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("no Debian for the scripts to run: tests/debian-rootfs makes it")
	}
	cache := filepath.Join(p.dir, cacheInPayload, "gourd-tests")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	return runTool("cp", append(append([]string{"-a", "--reflink=auto"}, found...), cache)...)
}

// cacheInPayload is the XDG_CACHE_HOME of the tests in the machine.
const cacheInPayload = "cache"

// build makes a static binary of the package, with "go build" or "go test -c".
func (p payload) build(how, name, pkg string) error { return p.buildIn(".", how, name, pkg) }

// buildIn is build for a module of the repository, which is in dir.
func (p payload) buildIn(dir, how, name, pkg string) error {
	args := []string{how, "-trimpath", "-tags", tags, "-o", filepath.Join(p.dir, name)}
	if how == "test" {
		args = append(args, "-c")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = filepath.Join(p.repo, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}

// repository returns the directory of go.mod, at or above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", errors.New("not in gourd's work tree: no go.mod at or above the working directory")
		}
	}
}
