// Command gen writes seccomp/zsyscalls.go: the names and numbers of the system
// calls of every architecture that package seccomp compiles for.
//
// It reads golang.org/x/sys/unix/zsysnum_linux_*.go from the module cache (the
// version that go.mod names), leaves out what is not a system call, and adds
// what that source lacks, which is listed in byhand.go. It does not look at
// the kernel of the machine that it runs on.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(output string) error {
	dir, err := sourceDir()
	if err != nil {
		return err
	}
	text, err := generate(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(output, text, 0o644)
}

// sourceDir returns the directory of golang.org/x/sys/unix in the module cache.
func sourceDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		return "", fmt.Errorf("find golang.org/x/sys: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "unix"), nil
}
