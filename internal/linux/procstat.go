package linux

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ProcStat is what /proc/PID/stat says of a process (proc_pid_stat(5)).
type ProcStat struct {
	State   byte   // field 3: R running, S sleeping, Z zombie, X dead, …
	Parent  int    // field 4: the parent's pid
	Threads int    // field 20: threads of the process, an ended first thread included
	Start   uint64 // field 22: start, in clock ticks after boot as the reader's time namespace sees it
}

// Ended tells whether the whole process has ended. A zombie that still has
// other threads has not: only its first thread has called pthread_exit(3).
func (s ProcStat) Ended() bool {
	switch s.State {
	case 'Z':
		return s.Threads <= 1
	case 'X', 'x':
		return true
	}
	return false
}

// ReadProcStat reads /proc/PID/stat. For a process that does not exist the
// error is ENOENT, or ESRCH if it went away in the middle.
func ReadProcStat(pid int) (ProcStat, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	// Straight system calls: os.ReadFile would stat and poll-register a file
	// that is read once for each container of a list.
	fd, err := openRetry(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return ProcStat{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var buf [1024]byte // 52 numbers and a name of at most 64 bytes
	n, err := readRetry(fd, buf[:])
	if err != nil {
		return ProcStat{}, &os.PathError{Op: "read", Path: path, Err: err}
	}
	st, err := parseProcStat(string(buf[:n]))
	if err != nil {
		return ProcStat{}, fmt.Errorf("read %s: %w", path, err)
	}
	return st, nil
}

// parseProcStat parses a line of /proc/PID/stat. The name in parentheses is
// the process' own choice and may hold spaces and parentheses: what follows
// the last one is the kernel's.
func parseProcStat(line string) (ProcStat, error) {
	var st ProcStat
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return st, fmt.Errorf("no name in %q", line)
	}
	field := 2
	for rest := strings.TrimLeft(line[end+1:], " "); rest != ""; {
		word, after, _ := strings.Cut(rest, " ")
		rest = after
		field++
		var err error
		switch field {
		case 3:
			if len(word) != 1 {
				return st, fmt.Errorf("state %q in %q", word, line)
			}
			st.State = word[0]
		case 4:
			st.Parent, err = strconv.Atoi(word)
		case 20:
			st.Threads, err = strconv.Atoi(word)
		case 22:
			st.Start, err = strconv.ParseUint(word, 10, 64)
			if err == nil {
				return st, nil
			}
		}
		if err != nil {
			return st, fmt.Errorf("field %d of %q: %w", field, line, err)
		}
	}
	return st, fmt.Errorf("only %d fields in %q", field, line)
}
