package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestStateRoot(t *testing.T) {
	xdg := t.TempDir()
	root := func(args ...string) string {
		var got string
		r := try(func(_ *program, c *cli.Context) (err error) {
			if got, err = stateRoot(c); err != nil {
				return err
			}
			return makeStateRoot(c, got)
		}, args...)
		if r.code != 0 {
			t.Errorf("%q: %s", args, r.stderr)
		}
		return got
	}
	t.Chdir(xdg)
	t.Setenv("XDG_RUNTIME_DIR", xdg)
	t.Setenv("USER", "root")
	if got := root("--root", "sub", "list"); got != filepath.Join(xdg, "sub") {
		t.Errorf("a relative --root: got %s", got)
	}
	if _, err := os.Lstat("sub"); err == nil {
		t.Error("a --root was made")
	}
	got := root("list")
	if os.Geteuid() == 0 {
		if got != "/run/gourd" {
			t.Errorf("root has its state in %s", got)
		}
		return
	}
	if got != filepath.Join(xdg, "gourd") {
		t.Errorf("an ordinary user has its state in %s", got)
	}
	if info, err := os.Stat(got); err != nil || info.Mode() != 0o700|fs.ModeDir|fs.ModeSticky {
		t.Errorf("%s: %v, %v", got, info, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := root("list"); got != "/run/gourd" {
		t.Errorf("without XDG_RUNTIME_DIR: %s", got)
	}
}

func TestParseRootless(t *testing.T) {
	for s, want := range map[string]string{"": "auto", "auto": "auto", "AUTO": "auto", "true": "true", "false": "false", "1": "true", "0": "false", "yes": "error", "rootless": "error"} {
		got := "auto"
		switch b, err := parseRootless(s); {
		case err != nil:
			got = "error"
		case b != nil && *b:
			got = "true"
		case b != nil:
			got = "false"
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}
