package cgroups

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// rdma.go: the rdma controller (cgroup-v2.rst, "RDMA").

// compileRDMA turns linux.resources.rdma into the files to write, in the order
// of the devices' names.
func compileRDMA(limits map[string]specs.LinuxRdma, d *defect.List) []Write {
	if len(limits) == 0 {
		return nil
	}
	var ws []Write
	for _, dev := range slices.Sorted(maps.Keys(limits)) {
		l, from := limits[dev], "linux.resources.rdma."+dev
		if dev == "" || strings.ContainsAny(dev, " \t\n\x00") {
			d.Add(from, "%q is not the name of an RDMA device", dev)
			continue
		}
		value := dev
		if l.HcaHandles != nil {
			value += " hca_handle=" + strconv.FormatUint(uint64(*l.HcaHandles), 10)
		}
		if l.HcaObjects != nil {
			value += " hca_object=" + strconv.FormatUint(uint64(*l.HcaObjects), 10)
		}
		if value == dev {
			d.Add(from, "neither hcaHandles nor hcaObjects is set")
			continue
		}
		ws = append(ws, Write{Controller: "rdma", File: "rdma.max", Value: value, From: from})
	}
	return ws
}

// RDMAStats is the use of one RDMA device.
type RDMAStats struct {
	HcaHandles uint64 `json:"hcaHandles"`
	HcaObjects uint64 `json:"hcaObjects"`
}

func statRDMA(dir int, s *Stats) error {
	return eachNested(dir, "rdma.current", func(dev, key string, n uint64) {
		if s.RDMA == nil {
			s.RDMA = map[string]RDMAStats{}
		}
		r := s.RDMA[dev]
		switch key {
		case "hca_handle":
			r.HcaHandles = n
		case "hca_object":
			r.HcaObjects = n
		}
		s.RDMA[dev] = r
	})
}
