package libcontainer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/criu"
	"github.com/gourd-oci/gourd/libcontainer/plan"
)

// descriptorsName is the file in the images' directory that says what stdin,
// stdout and stderr were, for restore to put its own there. Its name and its
// first three entries are the same with other runtimes.
const descriptorsName = "descriptors.json"

// descriptors are the files that the container has open and that are not its
// own: those that it was given.
type descriptors struct {
	// list has for each of stdin, stdout and stderr the name that CRIU has for
	// it: "pipe:[1234]", "file[MOUNT:INODE]", "tty[NUMBER:DEVICE]", or something
	// else, which is not replaced. What follows these three are names of the host's /dev/null,
	// after nullPrefix.
	list     []string
	external []string // what CRIU has to be told of
	shellJob bool     // a terminal of the host's is taken, too
}

const nullPrefix = "null:"

// givenStdio returns what init is given by gourd. Only pipes can be told from
// what is opened later.
func givenStdio() []string {
	list := make([]string, 3)
	for fd := range list {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			list[fd] = fmt.Sprintf("pipe:[%d]", st.Ino)
		}
	}
	return list
}

// findDescriptors finds the files of the host that the container's processes
// have open: stdio of init, which is restore's to give again, and the host's
// /dev/null, which exec gives to whoever has nothing better. CRIU refuses any
// other one. The terminal of a shell job is what it has as stdio.
func (c *Container) findDescriptors(k *plan.ForCheckpoint, shellJob bool) (*descriptors, error) {
	own, err := mountsOf(c.rec.InitPID)
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", c.rec.ID, err)
	}
	pids, err := c.Processes()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(pids, c.rec.InitPID) {
		pids = append(pids, c.rec.InitPID)
	}
	d := &descriptors{list: make([]string, 3), shellJob: shellJob}
	copy(d.list, k.Stdio)
	for _, pid := range pids {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, fmt.Errorf("container %q: %w", c.rec.ID, err)
		}
		for _, e := range fds {
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			d.look(pid, fd, pid == c.rec.InitPID && fd < 3, own)
		}
	}
	return d, nil
}

// look takes the file in if it is one of the host's. A file that has been
// closed meanwhile is none.
func (d *descriptors) look(pid, fd int, stdio bool, own map[string]bool) {
	var st unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), &st) != nil {
		return
	}
	char := st.Mode&unix.S_IFMT == unix.S_IFCHR
	null := char && st.Rdev == unix.Mkdev(1, 3)
	tty := char && stdio && d.shellJob && isTerminal(st.Rdev)
	if !null && !tty && !(stdio && st.Mode&unix.S_IFMT == unix.S_IFREG) {
		return
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return
	}
	_, rest, _ := bytes.Cut(info, []byte("mnt_id:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	id := strings.TrimSpace(string(line))
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil || own[id] {
		return
	}
	name := fmt.Sprintf("file[%x:%x]", n, st.Ino)
	if tty {
		name = fmt.Sprintf("tty[%x:%x]", st.Rdev, st.Dev)
	}
	if !slices.Contains(d.external, name) {
		d.external = append(d.external, name)
	}
	switch {
	case stdio && !null:
		d.list[fd] = name
	case !slices.Contains(d.list, nullPrefix+name):
		d.list = append(d.list, nullPrefix+name)
	}
}

// isTerminal tells a terminal by its device number (the kernel's
// admin-guide/devices.txt).
func isTerminal(dev uint64) bool {
	major := unix.Major(dev)
	return major == 4 || major == 5 || 136 <= major && major <= 143
}

// mountsOf returns the ids of the mounts that a process sees.
func mountsOf(pid int) (map[string]bool, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	ids := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		id, _, _ := strings.Cut(line, " ")
		ids[id] = true
	}
	return ids, nil
}

// save writes the list into the images' directory.
func (d *descriptors) save(dir *os.File) error {
	data, err := json.Marshal(d.list)
	if err != nil {
		return fmt.Errorf("encode %s: %w", descriptorsName, err)
	}
	if err := os.WriteFile(filepath.Join(dir.Name(), descriptorsName), data, 0o600); err != nil {
		return fmt.Errorf("save what the standard streams are: %w", err)
	}
	return nil
}

// inherited reads what save wrote and returns what of CRIU's own stdio takes
// the place of which file, and the names of what is /dev/null.
func inherited(dir *os.File) (list []criu.Inherit, null []string, err error) {
	data, err := os.ReadFile(filepath.Join(dir.Name(), descriptorsName))
	if err != nil {
		return nil, nil, fmt.Errorf("the images are not whole, or of a pre-dump only: %w", err)
	}
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", filepath.Join(dir.Name(), descriptorsName), err)
	}
	for fd, name := range names {
		if key, ok := strings.CutPrefix(name, nullPrefix); ok {
			null = append(null, key)
			continue
		}
		known := strings.HasPrefix(name, "pipe:[") || strings.HasPrefix(name, "file[") || strings.HasPrefix(name, "tty[")
		if fd > 2 || !known || slices.ContainsFunc(list, func(in criu.Inherit) bool { return in.Key == name }) {
			continue
		}
		list = append(list, criu.Inherit{Key: name, FD: fd})
	}
	return list, null, nil
}
