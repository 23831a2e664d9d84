package doctor

import (
	"os/exec"
	"strings"
)

func (r *report) tools() {
	r.area = "tools"
	r.criu()
	if path, err := exec.LookPath("ps"); err != nil {
		r.missing("ps", "not in $PATH", "gourd ps prints a table", "install it (Debian: procps); gourd ps --format json needs none")
	} else {
		r.there("ps", path, "gourd ps prints a table")
	}
}

// criu has CRIU look for itself whether this kernel is enough for it.
func (r *report) criu() {
	const means = "containers can be saved and brought back (checkpoint, restore)"
	path, err := exec.LookPath("criu")
	if err != nil {
		r.missing("CRIU", "not in $PATH", means, "install criu, if you want to")
		return
	}
	out, err := exec.Command(path, "check").CombinedOutput()
	if err != nil {
		last := lastLine(string(out))
		if last == "" {
			last = err.Error()
		}
		r.restricted("CRIU", path+" check: "+last, means, "see what \"criu check\" says; it wants root, and a kernel with CONFIG_CHECKPOINT_RESTORE")
		return
	}
	r.there("CRIU", path+", and its check is content", means)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimRight(lines[len(lines)-1], " .")
}
