package cgroups

import (
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cpuset.go: the cpuset controller (cgroup-v2.rst, "Cpuset").

// compileCpuset turns cpus and mems of linux.resources.cpu into the files to
// write. Whether the numbers exist only the kernel knows.
func compileCpuset(c *specs.LinuxCPU, d *defect.List) []Write {
	if c == nil {
		return nil
	}
	var ws []Write
	for _, f := range [...]struct{ file, from, list string }{
		{"cpuset.cpus", "linux.resources.cpu.cpus", c.Cpus},
		{"cpuset.mems", "linux.resources.cpu.mems", c.Mems},
	} {
		list := strings.TrimSpace(f.list)
		if list == "" {
			continue
		}
		if strings.Trim(list, "0123456789,- ") != "" {
			d.Add(f.from, "%q is not a list of numbers and ranges such as 0-3,7", f.list)
			continue
		}
		ws = append(ws, Write{Controller: "cpuset", File: f.file, Value: list, From: f.from})
	}
	return ws
}
