package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// selinuxAttr is the extended attribute that holds a file's SELinux context.
const selinuxAttr = "security.selinux"

// cmdLabel is "label CONTEXT FILE...": gives the files, and those below them,
// this SELinux context.
func cmdLabel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: label CONTEXT FILE...")
	}
	for _, f := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(f), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := unix.Lsetxattr(path, selinuxAttr, []byte(args[0]), 0); err != nil {
				return fmt.Errorf("label %s %s: %w", args[0], path, err)
			}
			return nil
		}))
	}
}

// cmdLabels is "labels DIR PATH...": prints the SELinux context of each path,
// which is one in DIR, such as /proc/$PID/root.
func cmdLabels(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: labels DIR PATH...")
	}
	for _, path := range args[1:] {
		buf := make([]byte, 4096)
		n, err := unix.Lgetxattr(args[0]+path, selinuxAttr, buf)
		if err != nil {
			ts.Fatalf("the label of %s: %v", args[0]+path, err)
		}
		fmt.Fprintf(ts.Stdout(), "%s %s\n", path, strings.TrimRight(string(buf[:n]), "\x00"))
	}
}

// cmdKeyLabel is "keylabel NAME REGEXP": the SELinux context of the session
// keyring NAME matches. The kernel gives the ids of those that may be seen.
func cmdKeyLabel(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: keylabel NAME REGEXP")
	}
	label, err := keyLabel(args[0])
	ts.Check(err)
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	if want.MatchString(label) == neg {
		ts.Fatalf("the keyring %s has the label %q", args[0], label)
	}
}

func keyLabel(name string) (string, error) {
	keys, err := os.ReadFile("/proc/keys")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(keys)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[7] != "keyring" || f[8] != name+":" {
			continue
		}
		id, err := strconv.ParseInt(f[0], 16, 64)
		if err != nil {
			return "", err
		}
		buf := make([]byte, 4096)
		n, err := unix.KeyctlBuffer(unix.KEYCTL_GET_SECURITY, int(id), buf, 0)
		if err != nil {
			return "", fmt.Errorf("keyctl_get_security %s: %w", name, err)
		}
		return strings.TrimRight(string(buf[:n]), "\x00"), nil
	}
	return "", errors.New("no keyring " + name + " in /proc/keys")
}
