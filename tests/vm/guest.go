package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// reportPort is the virtio-serial port by which events leave the machine; QEMU
// gives it this name (see boot).
const reportPort = "/dev/virtio-ports/report"

// guest is what the machine's own service runs: the steps of the plan, in
// order, each of their lines sent out as an event.
func guest() error {
	port, err := os.OpenFile(reportPort, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer port.Close()
	out := json.NewEncoder(port)
	var lost error
	emit := func(e event) {
		if err := out.Encode(e); err != nil && lost == nil {
			lost = fmt.Errorf("write %s: %w", reportPort, err)
		}
	}
	lsm, err := enforceSELinux(payloadDir)
	for _, line := range append(describe(), lsm...) {
		emit(event{Step: aboutMachine, Output: line})
	}
	if err != nil {
		emit(event{Step: aboutMachine, Error: err.Error(), Ended: true, Exit: -1})
		return err
	}
	if err := settle(); err != nil {
		emit(event{Step: aboutMachine, Output: "not settled: " + err.Error()})
	}
	p, err := readPlan(payloadDir)
	if err != nil {
		emit(event{Step: aboutMachine, Error: err.Error(), Ended: true, Exit: -1})
		return err
	}
	for _, s := range p.Steps {
		fmt.Printf("step %s\n", s.Name) // for the console
		s.run(payloadDir, emit)
	}
	emit(event{Step: allEnded})
	return lost
}

// settle makes the kernel patch its own code now, with one processor. The first
// cgroup with a quota switches on the scheduler's code for that, the end of the
// last one switches it off, and the same goes for performance events, of which a
// hardware breakpoint is one, as CRIU sets them. QEMU's multi-threaded emulation
// sometimes lets the other processor fall over the half-patched place, and the
// kernel panics ("dequeue_entities" or "__schedule", an int3 that nobody
// expects). So one cgroup has a quota, and this process a performance event that
// counts nothing, as long as the machine lives.
func settle() error {
	const (
		dir   = "/sys/fs/cgroup/settled"
		other = "/sys/devices/system/cpu/cpu1/online"
	)
	if err := os.WriteFile(other, []byte("0"), 0); err != nil {
		return err
	}
	_, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Size: unix.PERF_ATTR_SIZE_VER0,
	}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		err = fmt.Errorf("open a performance event: %w", err)
	}
	return errors.Join(
		err,
		os.Mkdir(dir, 0o755),
		os.WriteFile(dir+"/cpu.max", []byte("100000 100000"), 0),
		os.WriteFile(other, []byte("1"), 0),
	)
}

// describe tells what this machine is, as far as tests care.
func describe() []string {
	var u unix.Utsname
	var lines []string
	if err := unix.Uname(&u); err == nil {
		lines = append(lines, "kernel: "+unix.ByteSliceToString(u.Release[:]))
	}
	for _, f := range []struct{ what, path string }{
		{"system", "/etc/debian_version"},
		{"pid 1", "/proc/1/comm"},
		{"controllers", "/sys/fs/cgroup/cgroup.controllers"},
		{"security modules", "/sys/kernel/security/lsm"},
		{"processors", "/sys/devices/system/cpu/online"},
	} {
		data, err := os.ReadFile(f.path)
		text := strings.TrimSpace(string(data))
		if err != nil {
			text = err.Error()
		}
		lines = append(lines, f.what+": "+text)
	}
	return lines
}
