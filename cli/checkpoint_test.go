package cli

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/criu"
)

func TestCRIUOptions(t *testing.T) {
	plainEnv(t)
	dir := t.TempDir()
	t.Chdir(dir)
	for _, tt := range []struct {
		args string
		want func(o *criu.Options)
	}{
		{"checkpoint web", func(o *criu.Options) {}},
		{"restore web", func(o *criu.Options) {}},
		{"checkpoint --image-path i --work-path /w web", func(o *criu.Options) { o.ImagePath, o.WorkPath = filepath.Join(dir, "i"), "/w" }},
		{"checkpoint --parent-path ../p web", func(o *criu.Options) { o.ParentPath = "../p" }},
		{"checkpoint web --leave-running --pre-dump", func(o *criu.Options) { o.LeaveRunning, o.PreDump = true, true }},
		{"checkpoint --tcp-established --tcp-skip-in-flight web", func(o *criu.Options) { o.TCPEstablished, o.TCPSkipInFlight = true, true }},
		{"checkpoint --link-remap --ext-unix-sk --shell-job --file-locks --auto-dedup web", func(o *criu.Options) {
			o.LinkRemap, o.ExtUnixSk, o.ShellJob, o.FileLocks, o.AutoDedup = true, true, true, true, true
		}},
		{"checkpoint --lazy-pages --status-fd 7 --page-server a:1 web", func(o *criu.Options) { o.LazyPages, o.StatusFD, o.PageServer = true, 7, "a:1" }},
		{"checkpoint --status-fd -1 web", func(o *criu.Options) {}}, // runc's default
		{"checkpoint --manage-cgroups-mode full --network-lock skip --empty-ns network web", func(o *criu.Options) {
			o.ManageCgroups, o.NetworkLock, o.EmptyNS = "full", "skip", []string{"network"}
		}},
		{"restore --tcp-established --tcp-close --ext-unix-sk --shell-job --file-locks --auto-dedup --lazy-pages web", func(o *criu.Options) {
			o.TCPEstablished, o.TCPClose, o.ExtUnixSk, o.ShellJob, o.FileLocks, o.AutoDedup, o.LazyPages = true, true, true, true, true, true, true
		}},
		{"restore --lsm-profile apparmor:x --lsm-mount-context c web", func(o *criu.Options) { o.LSMProfile, o.LSMMountContext = "apparmor:x", "c" }},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var got criu.Options
			r := try(func(_ *program, c *cli.Context) (err error) {
				got, err = criuOptions(c)
				return err
			}, strings.Fields(tt.args)...)
			if r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			want := criu.Options{ImagePath: filepath.Join(dir, "checkpoint"), StatusFD: -1}
			tt.want(&want)
			if len(got.EmptyNS) == 0 {
				got.EmptyNS = nil
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}
