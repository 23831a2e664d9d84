package cgroups

import (
	"fmt"
	"strconv"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// io.go: the io controller (cgroup-v2.rst, "IO").

// compileIO turns linux.resources.blockIO into the files to write. Weights go
// to the BFQ scheduler's file where it is loaded, which has v1's scale of 1 to
// 1000, and else to io.weight. 0 is unset; a throttle of 0 is none.
func compileIO(b *specs.LinuxBlockIO, d *defect.List) []Write {
	if b == nil {
		return nil
	}
	const at = "linux.resources.blockIO."
	const leaf = "cgroup v2 has no leaf weight: a cgroup with sub-cgroups has no processes that would compete with them"
	if value(b.LeafWeight) != 0 {
		d.Add(at+"leafWeight", leaf)
	}
	var ws []Write
	if w := value(b.Weight); w != 0 && checkWeight(w, at+"weight", d) {
		ws = append(ws, ioWeight("", w, at+"weight"))
	}
	for i := range b.WeightDevice {
		wd := &b.WeightDevice[i]
		from := at + "weightDevice[" + strconv.Itoa(i) + "]"
		if wd.Weight == nil && wd.LeafWeight == nil {
			d.Add(from, "neither weight nor leafWeight is set")
		}
		if value(wd.LeafWeight) != 0 {
			d.Add(from+".leafWeight", leaf)
		}
		dev, ok := blockDevice(wd.Major, wd.Minor, from, d)
		if w := value(wd.Weight); ok && w != 0 && checkWeight(w, from+".weight", d) {
			ws = append(ws, ioWeight(dev+" ", w, from+".weight"))
		}
	}
	for _, t := range [...]struct {
		name, key string
		list      []specs.LinuxThrottleDevice
	}{
		{"throttleReadBpsDevice", "rbps", b.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", "wbps", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", "riops", b.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", "wiops", b.ThrottleWriteIOPSDevice},
	} {
		for i, td := range t.list {
			from := at + t.name + "[" + strconv.Itoa(i) + "]"
			dev, ok := blockDevice(td.Major, td.Minor, from, d)
			if !ok {
				continue
			}
			w := Write{Controller: "io", File: "io.max", Value: dev + " " + t.key + "=max", From: from + ".rate", Optional: true}
			if td.Rate != 0 {
				w.Value, w.Optional = dev+" "+t.key+"="+strconv.FormatUint(td.Rate, 10), false
			}
			ws = append(ws, w)
		}
	}
	return ws
}

// ioWeight is one weight, of a device ("8:0 ") or the default ("").
func ioWeight(dev string, w uint16, from string) Write {
	return Write{
		Controller: "io", File: "io.bfq.weight", Value: dev + strconv.Itoa(int(w)), From: from,
		Else: &Write{Controller: "io", File: "io.weight", Value: dev + strconv.FormatUint(blkioToIOWeight(w), 10), From: from},
	}
}

// blkioToIOWeight maps v1's weight (10 to 1000) linearly to io.weight's (1 to
// 10000), as runc and crun do.
func blkioToIOWeight(w uint16) uint64 { return 1 + (uint64(w)-10)*9999/990 }

func checkWeight(w uint16, from string, d *defect.List) bool {
	if w < 10 || w > 1000 {
		d.Add(from, "%d is not between 10 and 1000", w)
		return false
	}
	return true
}

// blockDevice returns "MAJOR:MINOR".
func blockDevice(major, minor int64, from string, d *defect.List) (string, bool) {
	if major < 0 || minor < 0 {
		d.Add(from, "%d:%d is not a device number", major, minor)
		return "", false
	}
	return fmt.Sprintf("%d:%d", major, minor), true
}

// BlkioStats is what went to and from block devices, with cgroup v1's names.
type BlkioStats struct {
	ServiceBytes []BlkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	Serviced     []BlkioEntry `json:"ioServicedRecursive,omitempty"`
	PSI          *PSI         `json:"psi,omitempty"`
}

// BlkioEntry counts one operation, "Read" or "Write", of one device.
type BlkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

func statIO(dir int, s *Stats) (err error) {
	if s.Blkio.PSI, err = readPSI(dir, "io.pressure"); err != nil {
		return err
	}
	return eachNested(dir, "io.stat", func(dev, key string, n uint64) {
		e := BlkioEntry{Op: "Read", Value: n}
		if _, err := fmt.Sscanf(dev, "%d:%d", &e.Major, &e.Minor); err != nil {
			return
		}
		if key == "wbytes" || key == "wios" {
			e.Op = "Write"
		}
		switch key {
		case "rbytes", "wbytes":
			s.Blkio.ServiceBytes = append(s.Blkio.ServiceBytes, e)
		case "rios", "wios":
			s.Blkio.Serviced = append(s.Blkio.Serviced, e)
		}
	})
}
