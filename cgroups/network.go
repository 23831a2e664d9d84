package cgroups

import (
	"github.com/gourd-oci/gourd/internal/defect"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// network.go: net_cls and net_prio, which only cgroup v1 has.

// refuseNetwork adds a defect for each setting of linux.resources.network.
func refuseNetwork(n *specs.LinuxNetwork, d *defect.List) {
	if n == nil {
		return
	}
	if value(n.ClassID) != 0 {
		d.Add("linux.resources.network.classID", "cgroup v2 has no class of network packets: match on the cgroup itself, with iptables -m cgroup --path or nftables socket cgroupv2")
	}
	if len(n.Priorities) > 0 {
		d.Add("linux.resources.network.priorities", "cgroup v2 has no priorities of network interfaces: attach an eBPF program to the cgroup instead")
	}
}
