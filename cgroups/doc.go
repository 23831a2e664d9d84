// Package cgroups puts a container into a cgroup of its own in cgroup v2, and
// limits, freezes, kills, measures and removes it there.
//
// It has two halves. Compile turns linux.resources into a Plan: plain data,
// made without touching anything, with every defect of the config found. Create
// carries a Plan out: it makes the directories, enables the controllers that
// are needed, writes the limits and attaches the device program. Each
// controller has a file of its own with its conversion (memory.go, cpu.go, …)
// and, where it has some, its part of Stats.
//
// Everything below the cgroup2 mount is reached through directory fds, and
// waiting is always done with poll(2) on cgroup.events, which the kernel wakes.
//
// It does not know cgroup v1: a setting that only v1 has is refused by its JSON
// path. It does not start processes, and it does not speak to systemd: that is
// package cgroups/systemd, so that D-Bus costs nothing where it is not used.
package cgroups
