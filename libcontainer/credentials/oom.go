package credentials

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/internal/defect"
)

// compileOOM checks the range (proc_pid_oom_score_adj(5)). Unset, the value
// must not be changed.
func compileOOM(score *int, d *defect.List) *int {
	if score == nil {
		return nil
	}
	if *score < -1000 || *score > 1000 {
		d.Add("process.oomScoreAdj", "%d is not between -1000 and 1000", *score)
	}
	n := *score
	return &n
}

// SetOOMScoreAdj writes the oom score adjustment of a process, by pid in the
// pid namespace of /proc, 0 for the caller. Below the lowest value that it has
// ever been set to with privilege, it needs CAP_SYS_RESOURCE in the initial
// user namespace. Early does it; for an init in a user namespace of its own
// the runtime does it before, from outside, and Early finds it done.
func (p *Plan) SetOOMScoreAdj(pid int) error {
	if p.OOMScoreAdj == nil {
		return nil
	}
	name := "/proc/self/oom_score_adj"
	if pid != 0 {
		name = "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	}
	text := strconv.Itoa(*p.OOMScoreAdj)
	have := "unknown"
	if fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		var buf [16]byte
		if n, err := unix.Read(fd, buf[:]); err == nil {
			have = strings.TrimSpace(string(buf[:n]))
		}
		unix.Close(fd)
	}
	if have == text {
		return nil // init may be unable to write even this: the file is not its own
	}
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(text))
		unix.Close(fd)
	}
	if errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("%w (to go below what it is, %s, needs CAP_SYS_RESOURCE)", err, have)
	}
	if err != nil {
		return fmt.Errorf("process.oomScoreAdj: set %s: %w", text, err)
	}
	return nil
}
