// Command run is the floor of the benchmark, and its measure of memory. It is a
// program of its own, and small: what it imports is part of the floor, and the
// peak of a program's memory cannot be seen to be below that of whoever starts
// it (execve carries the high-water mark over).
//
//	run floor PLAN ID             makes the container of the plan, and waits for its end
//	run peak FILE COMMAND ARG...  runs the command and writes its peak RSS, in KiB, to the file
package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/gourd-oci/gourd/libcontainer/protocol"
	"github.com/gourd-oci/gourd/tests/bench/floor"
)

func main() {
	debug.SetGCPercent(-1)
	code, err := 2, error(nil)
	switch {
	case len(os.Args) == 4 && os.Args[1] == "floor":
		code, err = runFloor(os.Args[2], os.Args[3])
	case len(os.Args) > 3 && os.Args[1] == "peak":
		code, err = peak(os.Args[2], os.Args[3:])
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
	}
	os.Exit(code)
}

func runFloor(file, id string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 1, err
	}
	var p floor.Plan
	if err := protocol.Unmarshal(data, &p); err != nil {
		return 1, err
	}
	ws, err := floor.Run(&p, id)
	if err != nil {
		return 1, err
	}
	return ws.ExitStatus(), nil
}

func peak(file string, command []string) (int, error) {
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 1, err
	}
	var ws syscall.WaitStatus
	var use syscall.Rusage
	for {
		_, err := syscall.Wait4(pid, &ws, 0, &use)
		if err == nil {
			break
		}
		if err != syscall.EINTR {
			return 1, err
		}
	}
	return ws.ExitStatus(), os.WriteFile(file, strconv.AppendInt(nil, use.Maxrss, 10), 0o644)
}
