package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Stats is what a container uses, with the names that runc's events command
// prints. What cgroup v2 does not count is left out, or 0 where runc prints it.
// CPU times are in nanoseconds, sizes in bytes.
type Stats struct {
	CPU     CPUStats                `json:"cpu"`
	CPUSet  CPUSetStats             `json:"cpuset"`
	Memory  MemoryStats             `json:"memory"`
	Pids    PidsStats               `json:"pids"`
	Blkio   BlkioStats              `json:"blkio"`
	Hugetlb map[string]HugetlbStats `json:"hugetlb"`
	// IntelRdt and NetworkInterfaces are never filled in by this package; package
	// resctrl knows the former.
	IntelRdt          struct{}           `json:"intel_rdt"`
	NetworkInterfaces []NetworkInterface `json:"network_interfaces"`
	// RDMA and Misc are not in runc's output.
	RDMA map[string]RDMAStats `json:"rdma,omitempty"`
	Misc map[string]MiscStats `json:"misc,omitempty"`
}

// NetworkInterface counts what went over one interface.
type NetworkInterface struct {
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// PSI is pressure stall information: how long some or all processes waited for
// a resource (Documentation/accounting/psi.rst).
type PSI struct {
	Some PSIData `json:"some,omitzero"`
	Full PSIData `json:"full,omitzero"`
}

// PSIData has the shares of the last 10, 60 and 300 seconds in percent, and the
// sum in microseconds.
type PSIData struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// Stats reads what the container uses now. A controller that is not enabled is
// left out; a file that cannot be read or understood is an error, together with
// all that could be.
func (c *Cgroup) Stats() (*Stats, error) {
	if err := c.check("read stats of"); err != nil {
		return nil, err
	}
	s := &Stats{Hugetlb: map[string]HugetlbStats{}}
	var errs []error
	for _, read := range [...]func(int, *Stats) error{
		statCPU, statCpuset, statMemory, c.statPids, statIO, statHugetlb, statRDMA, statMisc,
	} {
		if err := read(c.fd, s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("stats of cgroup %s: %w", c.shown(), err))
		}
	}
	return s, errors.Join(errs...)
}

// readUint returns the number in a file of one value (cgroup-v2.rst, "Format");
// "max" is the largest there is.
func readUint(dir int, name string) (uint64, error) {
	data, err := readAt(dir, name)
	if err != nil {
		return 0, err
	}
	n, err := limitNumber(string(data))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// readOptional is readUint for a file that not every kernel has: 0 without it.
func readOptional(dir int, name string) (uint64, error) {
	n, err := readUint(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	return n, err
}

// eachKey calls f with every key and value of a flat-keyed file.
func eachKey(dir int, name string, f func(key string, value uint64)) error {
	data, err := readAt(dir, name)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		key, v, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		n, err := strconv.ParseUint(v, 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("read %s: line %q is not a key and a number", name, line)
		}
		f(key, n)
	}
	return nil
}

// eachNested calls f with every key, sub-key and value of a nested-keyed file,
// "KEY SUB=VALUE SUB=VALUE". A value that is not a number or "max" is passed
// over: files grow new ones.
func eachNested(dir int, name string, f func(key, sub string, value uint64)) error {
	data, err := readAt(dir, name)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		for _, field := range fields[1:] {
			sub, v, _ := strings.Cut(field, "=")
			if n, err := limitNumber(v); err == nil {
				f(fields[0], sub, n)
			}
		}
	}
	return nil
}

// readPSI reads a pressure file. It is nil where the kernel has none, or has
// it switched off (psi=0, or 0 in cgroup.pressure).
func readPSI(dir int, name string) (*PSI, error) {
	data, err := readAt(dir, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p PSI
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		d := &p.Some
		if fields[0] == "full" {
			d = &p.Full
		}
		for _, field := range fields[1:] {
			key, v, _ := strings.Cut(field, "=")
			var err error
			switch key {
			case "avg10":
				d.Avg10, err = strconv.ParseFloat(v, 64)
			case "avg60":
				d.Avg60, err = strconv.ParseFloat(v, 64)
			case "avg300":
				d.Avg300, err = strconv.ParseFloat(v, 64)
			case "total":
				d.Total, err = strconv.ParseUint(v, 10, 64)
			}
			if err != nil {
				return nil, fmt.Errorf("read %s: %q: %w", name, field, err)
			}
		}
	}
	return &p, nil
}

// addSaturating is a+b, where the largest number means no limit.
func addSaturating(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
