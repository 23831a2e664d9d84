package libcontainer

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/nsenter"
)

// mapWriter returns what writes the maps of the container's user namespace in
// an ordinary user's name, or nil where gourd does so itself: newuidmap(1) and
// newgidmap(1), which are set-user-ID programs and know by subuid(5) and
// subgid(5) which ids the user has.
func mapWriter(e *plan.Enter) func(pid int) error {
	if !e.MapHelpers {
		return nil
	}
	return func(pid int) error {
		// The gids first: newgidmap denies setgroups where it must, which can
		// be done only before a gid_map is written.
		if err := writeMap("newgidmap", "linux.gidMappings", pid, e.GIDMaps); err != nil {
			return err
		}
		return writeMap("newuidmap", "linux.uidMappings", pid, e.UIDMaps)
	}
}

func writeMap(helper, where string, pid int, maps []nsenter.IDMap) error {
	args := []string{strconv.Itoa(pid)}
	for _, m := range maps {
		for _, n := range [...]uint32{m.Inside, m.Outside, m.Size} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	path, err := exec.LookPath(helper)
	if err != nil {
		return fmt.Errorf("%s: an ordinary user needs %s to map more than the own id: %w", where, helper, err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %s %s: %w: %s", where, path, strings.Join(args, " "), err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}
