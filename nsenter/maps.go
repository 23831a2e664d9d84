package nsenter

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// writeMaps writes the maps of pid's user namespace, in the order that
// user_namespaces(7) demands: setgroups has to be denied before gid_map is
// written by an unprivileged process.
func writeMaps(r *Request, pid int) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	if r.DenySetgroups {
		if err := writeFile(dir+"setgroups", []byte("deny")); err != nil {
			return err
		}
	}
	if r.MapWriter != nil {
		return r.MapWriter(pid)
	}
	if len(r.GIDMaps) != 0 {
		if err := writeFile(dir+"gid_map", mapLines(r.GIDMaps)); err != nil {
			return err
		}
	}
	if len(r.UIDMaps) != 0 {
		return writeFile(dir+"uid_map", mapLines(r.UIDMaps))
	}
	return nil
}

// mapLines returns the maps as the kernel wants them, all in one write.
func mapLines(maps []IDMap) []byte {
	b := make([]byte, 0, 36*len(maps))
	for _, m := range maps {
		b = append(strconv.AppendUint(b, uint64(m.Inside), 10), ' ')
		b = append(strconv.AppendUint(b, uint64(m.Outside), 10), ' ')
		b = append(strconv.AppendUint(b, uint64(m.Size), 10), '\n')
	}
	return b
}

// writeFile writes b to a file of procfs with one write(2). The error names
// the file and what was to be written.
func writeFile(path string, b []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, b)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("write %s %q: %w", path, b, err)
	}
	return nil
}
