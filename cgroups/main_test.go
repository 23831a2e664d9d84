package cgroups

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestMain fails when the tests leave fds open.
func TestMain(m *testing.M) {
	// The Go runtime's own are opened with the first pipe.
	r, w, err := os.Pipe()
	if err == nil {
		r.Close()
		w.Close()
	}
	before := highFDs()
	code := m.Run()
	if after := highFDs(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d fds were open before the tests, %d are after them\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// highFDs counts the open fds.
func highFDs() (n int) {
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

// FuzzCompile feeds Compile and Update with what a config.json may say: no
// input makes them panic, and what they accept can be written.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"memory":{"limit":1000,"swap":1500,"reservation":-1},"pids":{"limit":0}}`,
		`{"cpu":{"shares":1024,"quota":5000,"period":10000,"burst":1,"cpus":"0-3","idle":1}}`,
		`{"blockIO":{"weight":10,"weightDevice":[{"major":8,"minor":0,"weight":500}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}]}}`,
		`{"hugepageLimits":[{"pageSize":"2MB","limit":1}],"rdma":{"mlx5_1":{"hcaHandles":3}},"unified":{"memory.high":"1\n2"}}`,
		`{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]}`,
	} {
		f.Add([]byte(s), "a.slice:b:c", true)
		f.Add([]byte(s), "../x", false)
	}
	f.Fuzz(func(t *testing.T, data []byte, path string, systemd bool) {
		var r specs.LinuxResources
		if json.Unmarshal(data, &r) != nil {
			return
		}
		e := Env{Root: "/sys/fs/cgroup", Own: "/user.slice/a", ID: "x", CgroupsPath: path, Systemd: systemd}
		var d defect.List
		p := Compile(&r, e, &d)
		if len(d) > 0 {
			return
		}
		if !systemd && (p.Path == "/" || within("/user.slice/a", p.Path)) {
			t.Errorf("path %q is taken as %s", path, p.Path)
		}
		if n := len(assemble(&p.Devices)); n < 2 || n > maxInsns {
			t.Errorf("a program of %d instructions", n)
		}
		for _, ws := range [][]Write{p.Writes, p.Late} {
			for _, w := range ws {
				if w.File == "" || w.Value == "" || w.From == "" {
					t.Errorf("%+v", w)
				}
			}
		}
		merged, _ := Update(&r, &r, e, &d)
		if len(d) > 0 && len(r.Devices) == 0 {
			t.Errorf("laid over itself it is refused: %v", d)
		}
		if _, again := Update(merged, nil, e, &d); len(again.Plan.Writes)+len(again.Plan.Late) > 0 {
			t.Errorf("no change writes %+v", again.Plan)
		}
	})
}
