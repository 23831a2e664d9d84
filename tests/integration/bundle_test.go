package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gourd-oci/gourd/tests/world"
)

// prelude has words for what scripts do to a config.json most often.
const prelude = `
def sh($s): .process.args = ["/bin/sh", "-c", $s];
def loops($dir; $first; $each): sh($first + "; while :; do while [ -e \($dir)/hold ]; do [ -e \($dir)/held ] || : >\($dir)/held; sleep 0.05; done; " + $each + "; sleep 0.05; done");
def counts($dir): loops($dir; "i=0"; "i=$((i+1)); echo $i >>\($dir)/log");
def args($a): .process.args = $a;
def setenv($e): .process.env += [$e];
def mnt($dst; $type; $src; $opts): .mounts += [{destination: $dst, type: $type, source: $src, options: $opts}];
def bind($src; $dst; $opts): mnt($dst; "bind"; $src; $opts);
def nomnt($dst): del(.mounts[] | select(.destination == $dst));
def nons($t): del(.linux.namespaces[] | select(.type == $t));
def newns($t): nons($t) | .linux.namespaces += [{type: $t}];
def joinns($t; $p): nons($t) | .linux.namespaces += [{type: $t, path: $p}];
def caps($c): .process.capabilities = {bounding: $c, effective: $c, permitted: $c};
def landlock($rules): .annotations["run.gourd.landlock"] = ($rules | tojson);
def hook($phase; $h): .hooks[$phase] += [$h];
def shhook($phase; $s): hook($phase; {path: "/bin/sh", args: ["sh", "-c", $s]});
`

// cmdBundle is "bundle DIR [JQ]...": a bundle in DIR whose config.json is what
// the runtime's own spec command writes, without a terminal, with a writable
// rootfs, edited by each JQ; the rootfs has busybox.
func cmdBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: bundle DIR [jq expression]...")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(makeRootfs(filepath.Join(dir, "rootfs")))
	cmd := exec.Command(driverOf(ts).runtime.Path, "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("spec: %v\n%s", err, out)
	}
	edits := []string{`.process.terminal = false | .root.readonly = false | .hostname = "box"`}
	if driverOf(ts).ways.way == world.Rootless {
		edits = append(edits, "del(.linux.resources.devices)") // as spec --rootless: nobody could enforce it
	}
	edit(ts, dir, append(edits, args[1:]...))
	addUserns(ts, dir)
}

// cmdConfig is "config DIR JQ...": edits the bundle's config.json.
func cmdConfig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: config DIR jq expression...")
	}
	edit(ts, ts.MkAbs(args[0]), args[1:])
}

// edit applies jq expressions to dir/config.json. $WORK, $ROOT and $PID in
// them are the script's variables, as jq variables.
func edit(ts *testscript.TestScript, dir string, expressions []string) {
	file := filepath.Join(dir, "config.json")
	var vars []string
	for _, v := range []string{"WORK", "ROOT", "PID", "OWNER"} {
		vars = append(vars, "--arg", v, ts.Getenv(v))
	}
	words, err := driverOf(ts).ways.define()
	ts.Check(err)
	cmd := exec.Command("jq", append(vars, prelude+words+strings.Join(expressions, " | "), file)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		ts.Fatalf("jq: %v\n%s", err, said.String())
	}
	ts.Check(os.WriteFile(file, out.Bytes(), 0o644))
}

// applets are the busybox commands that scripts use in containers.
const applets = `[ ash awk basename cat chgrp chmod chown chroot cp cut date dd df dirname
echo env expr false find fold grep groups head hostname id ifconfig ip kill ln logname ls
md5sum mkdir mkfifo mknod mktemp more mount mountpoint mv nc nproc od pgrep pkill printenv
printf ps pwd readlink realpath reset rm rmdir sed seq setsid sh sha256sum sleep sort stat
stty sync sysctl tail tee test touch tr trap true tty umount uname uniq wc which whoami xargs yes`

// makeRootfs makes a root filesystem of busybox in dir.
func makeRootfs(dir string) error {
	for _, d := range []string{"bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w (Debian: busybox-static)", err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		return err
	}
	for _, a := range strings.Fields(applets) {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
		"etc/group":  "root:x:0:\nuser:x:1000:\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
