package cgroups

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gourd-oci/gourd/internal/cleanup"
	"github.com/gourd-oci/gourd/internal/defect"
	"golang.org/x/sys/unix"
)

// TestFiftyAtOnce makes and removes containers below one parent, which each of
// them may find, make or remove at any moment.
func TestFiftyAtOnce(t *testing.T) {
	root := host(t)
	name := top(t, root)
	errs := make(chan error)
	for i := range 50 {
		go func() {
			p := Plan{Manager: ManagerFS, Root: root, Path: fmt.Sprintf("%s/parent/%d", name, i), Required: true, Devices: compileDevices(nil, nil)}
			var undo cleanup.Stack
			c, err := Create(&p, &undo)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			cmd := exec.Command("sleep", "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.FD()}
			if err = cmd.Start(); err == nil {
				err = c.Kill()
				cmd.Wait()
			}
			errs <- errors.Join(err, undo.Run())
		}()
	}
	for range 50 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestHandOver(t *testing.T) {
	root := host(t)
	var d defect.List
	p := Compile(nil, Env{Root: root, Own: "/", CgroupsPath: top(t, root), Owner: 12345}, &d)
	c := createPlan(t, &p)
	for name, want := range map[string]uint32{".": 12345, "cgroup.procs": 12345, "cgroup.subtree_control": 12345, "cgroup.threads": 12345, "cgroup.freeze": 0, "cgroup.kill": 0, "cgroup.type": 0} {
		var st unix.Stat_t
		if err := unix.Fstatat(c.FD(), name, &st, 0); err != nil {
			t.Fatal(err)
		}
		if st.Uid != want {
			t.Errorf("%s belongs to %d, want %d", name, st.Uid, want)
		}
	}
}

// TestWithoutRights creates as a user who may not: it does without a cgroup
// where none was asked for.
func TestWithoutRights(t *testing.T) {
	root := host(t)
	name := top(t, root)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its rights
		if err := unix.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		p := Plan{Manager: ManagerFS, Root: root, Path: name, Rootless: true}
		var undo cleanup.Stack
		c, err := Create(&p, &undo)
		if err != nil || c.FD() != -1 || c.Record().Manager != ManagerNone {
			t.Errorf("%+v, %v; want none", c, err)
		}
		p.Required = true
		if _, err := Create(&p, &undo); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "let systemd make it") {
			t.Errorf("%v, want EACCES, and what helps", err)
		}
	}()
	<-done
}
