package libcontainer

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/notify"
)

// The kernel says EPERM and EACCES of an execve for many reasons; SELinux is
// named where it can be one.
func TestExplainLabel(t *testing.T) {
	const label = "system_u:system_r:container_t:s0"
	for _, tt := range []struct {
		name  string
		label string
		nnp   bool
		step  notify.Step
		errno unix.Errno
		want  string // in what is added; "" for nothing
	}{
		{"with noNewPrivileges", label, true, notify.StepExec, unix.EPERM, "nnp_transition"},
		{"EPERM of something else", label, false, notify.StepExec, unix.EPERM, ""},
		{"denied", label, false, notify.StepExec, unix.EACCES, "the audit log"},
		{"no label", "", true, notify.StepExec, unix.EPERM, ""},
		{"the filter", label, true, notify.StepFilter, unix.EPERM, ""},
		{"not there", label, true, notify.StepExec, unix.ENOENT, ""},
	} {
		plain := fmt.Errorf("start: %w", &notify.Error{Step: tt.step, Path: "/bin/sh", Errno: tt.errno})
		err := explainLabel(plain, tt.label, tt.nnp)
		added, ok := strings.CutPrefix(err.Error(), plain.Error())
		if !ok || !errors.Is(err, tt.errno) || (added == "") != (tt.want == "") || !strings.Contains(added, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
