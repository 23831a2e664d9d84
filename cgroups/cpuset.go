package cgroups

import (
	"fmt"
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

// CPUSetStats is where the container may run. Cpus and Mems are what is in
// effect; the rest is of cgroup v1, which runc prints all the same.
type CPUSetStats struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

func statCpuset(dir int, s *Stats) error {
	for _, f := range [...]struct {
		file string
		to   *[]uint16
	}{{"cpuset.cpus.effective", &s.CPUSet.CPUs}, {"cpuset.mems.effective", &s.CPUSet.Mems}} {
		data, err := readAt(dir, f.file)
		if err != nil {
			return err
		}
		bits, err := listBits(string(data))
		if err != nil {
			return fmt.Errorf("read %s: %w", f.file, err)
		}
		for i := range len(bits) * 8 {
			if bits[i/8]&(1<<(i%8)) != 0 {
				*f.to = append(*f.to, uint16(i))
			}
		}
	}
	return nil
}
