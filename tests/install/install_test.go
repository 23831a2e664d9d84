package install

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInstall installs below an empty directory.
func TestInstall(t *testing.T) {
	for _, tt := range []struct{ prefix, zsh string }{
		{"", "share/zsh/site-functions"}, // which is /usr/local
		{"/usr", "share/zsh/vendor-completions"},
		{"/opt/gourd", "share/zsh/site-functions"},
	} {
		t.Run(tt.prefix, func(t *testing.T) {
			dest := t.TempDir()
			args := []string{"DESTDIR=" + dest}
			prefix := filepath.Join(dest, "/usr/local")
			if tt.prefix != "" {
				args = append(args, "PREFIX="+tt.prefix)
				prefix = filepath.Join(dest, tt.prefix)
			}
			makeTarget(t, "install", args...)
			gourd := filepath.Join(prefix, "bin/gourd")

			pages := t.TempDir()
			output(t, gourd, "help", "--man", pages)
			want := map[string]string{ // its text, or "" for a program
				"bin/gourd":         "",
				"bin/gourd-prepare": "",
				"share/bash-completion/completions/gourd":    output(t, gourd, "completion", "bash"),
				tt.zsh + "/_gourd":                           output(t, gourd, "completion", "zsh"),
				"share/fish/vendor_completions.d/gourd.fish": output(t, gourd, "completion", "fish"),
				"share/man/man8/gourd.8":                     read(t, pages+"/gourd.8"),
				"share/man/man8/gourd-create.8":              read(t, pages+"/gourd-create.8"),
				"share/man/man8/gourd-prepare.8":             read(t, pages+"/gourd-prepare.8"),
			}
			list, err := os.ReadDir(pages)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				want["share/man/man8/"+e.Name()] = read(t, filepath.Join(pages, e.Name()))
			}
			for _, file := range files(t, dest) {
				name, err := filepath.Rel(prefix, file)
				if err != nil {
					t.Fatal(err)
				}
				text, ok := want[name]
				if !ok {
					t.Errorf("%s is installed, which nobody looks for", name)
					continue
				}
				delete(want, name)
				mode := fs.FileMode(0o755)
				if text != "" {
					mode = 0o644
					if got := read(t, file); got != text {
						t.Errorf("%s is not what gourd prints", name)
					}
				}
				st, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				if st.Mode() != mode {
					t.Errorf("%s has the mode %v, want %v", name, st.Mode(), mode)
				}
			}
			for name := range want {
				t.Errorf("%s is not installed", name)
			}

			// The companion is found from there.
			if out := output(t, gourd, "prepare", "--help"); !strings.Contains(out, "Usage: gourd prepare ") {
				t.Errorf("gourd prepare --help says %q", out)
			}

			makeTarget(t, "uninstall", args...)
			if left := files(t, dest); len(left) > 0 {
				t.Errorf("make uninstall left %q", left)
			}
		})
	}
}

// TestShellsLook asks the shells themselves whether they look where make install
// puts the completions.
func TestShellsLook(t *testing.T) {
	dest := t.TempDir()
	makeTarget(t, "install", "DESTDIR="+dest)
	share := filepath.Join(dest, "usr/local/share")
	t.Run("fish", func(t *testing.T) {
		cmd := shell(t, "fish", "--command", "complete --do-complete 'gourd compl'")
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_DIRS="+share, "PATH="+filepath.Join(dest, "usr/local/bin")+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "completion\t") {
			t.Errorf("fish completes \"gourd compl\" with %q (%v)", out, err)
		}
	})
	t.Run("zsh", func(t *testing.T) {
		out, err := shell(t, "zsh", "-f", "-c", `print -l $fpath`).CombinedOutput()
		if dirs := strings.Split(string(out), "\n"); err != nil || !slices.Contains(dirs, "/usr/local/share/zsh/site-functions") {
			t.Errorf("zsh looks in %q (%v)", dirs, err)
		}
	})
	t.Run("man", func(t *testing.T) {
		cmd := shell(t, "man", "8", "gourd-create")
		cmd.Env = append(os.Environ(), "MANPATH="+filepath.Join(share, "man"), "MANPAGER=cat", "PAGER=cat")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "GOURD-CREATE(8)") {
			t.Errorf("man 8 gourd-create: %v\n%s", err, out)
		}
	})
}

// makeTarget runs make, and not as a part of the make that runs the test.
func makeTarget(t *testing.T, target string, args ...string) {
	t.Helper()
	cmd := exec.Command("make", append([]string{"--no-print-directory", "-C", "../..", target}, args...)...)
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PREFIX", "DESTDIR":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

func shell(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	return exec.Command(name, args...)
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out)
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files lists all that are no directories below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
