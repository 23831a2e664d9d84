// rootless.go: who gourd is, and where the state of its containers lives.

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/internal/linux"
)

// defaultRoot is where root keeps its containers' state: a tmpfs.
const defaultRoot = "/run/gourd"

// parseRootless reads --rootless: nil means auto.
func parseRootless(s string) (*bool, error) {
	if s == "" || strings.EqualFold(s, "auto") {
		return nil, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil, fmt.Errorf("invalid rootless: %q (true, false or auto)", s)
	}
	return &b, nil
}

// rootless tells whether missing permissions on cgroups are to be expected: by
// --rootless, or when gourd is not root of the initial user namespace.
func rootless(c *cli.Context) (bool, error) {
	b, err := parseRootless(c.String("rootless"))
	if err != nil {
		return false, &usageError{err: err}
	}
	if b != nil {
		return *b, nil
	}
	return os.Geteuid() != 0 || inUserNS(), nil
}

// inUserNS reports whether the process is in another than the initial user
// namespace. Without a readable /proc the answer is no.
func inUserNS() bool {
	initial, err := linux.InInitialUserNS()
	return err == nil && !initial
}

// stateRoot returns the absolute directory that holds a directory for each
// container: --root, or the default for who calls.
func stateRoot(c *cli.Context) (string, error) {
	if c.IsSet("root") {
		return givenRoot(c.String("root"))
	}
	return defaultStateRoot(), nil
}

// defaultStateRoot is the directory for who calls, where none is given.
func defaultStateRoot() string {
	xdg := os.Getenv("XDG_RUNTIME_DIR")
	if xdg == "" || !ownRuntimeDir(os.Geteuid(), os.Getenv("USER")) {
		return defaultRoot
	}
	return filepath.Join(xdg, "gourd")
}

// ownRuntimeDir tells whether XDG_RUNTIME_DIR is where to keep state. Real root
// does not use it, also when the variable came along with su or sudo; root of a
// user namespace does, unless it is a whole machine's root there.
func ownRuntimeDir(euid int, user string) bool {
	if euid != 0 {
		return true
	}
	return user != "root" && inUserNS()
}

// givenRoot checks the argument of --root.
func givenRoot(dir string) (string, error) {
	if dir == "" {
		return "", &usageError{err: errors.New("--root is empty: give the directory that holds the containers' state")}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("--root %q: %w", dir, err)
	}
	if abs == "/" {
		return "", &usageError{err: fmt.Errorf("--root %q is the root directory: it would be filled with containers' state", dir)}
	}
	return abs, nil
}

// makeStateRoot makes the directory below XDG_RUNTIME_DIR, with the sticky bit
// without which a clean-up of that place may take it away (XDG base directory
// specification). Other roots are made by libcontainer.
func makeStateRoot(c *cli.Context, root string) error {
	if c.IsSet("root") || root == defaultRoot {
		return nil
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("make the state directory (is XDG_RUNTIME_DIR yours to write to? else give --root): %w", err)
	}
	if err := os.Chmod(root, 0o700|fs.ModeSticky); err != nil {
		return fmt.Errorf("set the sticky bit of the state directory: %w", err)
	}
	return nil
}
